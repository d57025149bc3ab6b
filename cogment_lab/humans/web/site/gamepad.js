// The first gamepad, read once for each picture the browser draws.

const DEAD_ZONE = 0.15;
const KEY_ZONE = 0.5;
const CHANGE = 0.01;

/** An axis without its dead zone, from -1 to 1. */
export function live(value) {
  const size = Math.abs(value);
  return size < DEAD_ZONE ? 0 : (Math.sign(value) * (Math.min(size, 1) - DEAD_ZONE)) / (1 - DEAD_ZONE);
}

/** Why there can be no gamepad here, "" where there can. */
export function padProblem() {
  if (!isSecureContext) return "Browsers allow gamepads only on https or localhost.";
  try {
    return navigator.getGamepads ? "" : "This browser knows no gamepads.";
  } catch (error) {
    return `No gamepad here: ${error.message}`; // a frame without allow="gamepad"
  }
}

export class Gamepad {
  /**
   * The stick is the arrow keys, and the axes themselves for whoever wants them; the right trigger or the first button takes over.
   * What a key map binds to Button0... or Axis0Plus, Axis0Minus... is a key like any other.
   * @param {{press: (code: string) => void, lift: (code: string) => void, take: () => void, release: () => void,
   *          axes: (values: number[] | null) => boolean, binds: (code: string) => boolean, chosen: (code: string) => boolean}} listener
   *        `axes` returns whether it uses them, `binds` whether a code means something, `chosen` whether a button was asked for
   */
  constructor(listener) {
    this.listener = listener;
    this.held = {};
    this.trigger = false;
    this.axes = [];
    this.down = [];
    this.enabled = false;
    const problem = padProblem();
    if (!problem) requestAnimationFrame(() => this.look());
  }

  look() {
    requestAnimationFrame(() => this.look());
    const pad = this.enabled ? [...navigator.getGamepads()].find((each) => each?.connected !== false && each) : null;
    if (pad) this.read(pad);
    else if (this.trigger || this.axes.some(Boolean) || Object.values(this.held).some(Boolean)) this.read({ axes: [], buttons: [] });
  }

  read({ axes, buttons }) {
    const values = axes.map(live);
    const moved = values.length !== this.axes.length || values.some((value, index) => Math.abs(value - this.axes[index]) > CHANGE || (!value && this.axes[index]));
    let used = this.used;
    if (moved) {
      this.axes = values;
      used = this.used = this.listener.axes(values.some(Boolean) ? values : null);
    }
    const [x, y] = used ? [0, 0] : [axes[0] ?? 0, axes[1] ?? 0];
    const down = (index) => Boolean(buttons[index]?.pressed);
    const codes = buttons.flatMap((button, index) => (button.pressed ? [`Button${index}`] : []));
    const asked = codes.filter((code) => !this.down.includes(code)).some((code) => this.listener.chosen(code));
    this.down = codes;
    if (asked) return;
    const ways = axes.flatMap((value, index) => (Math.abs(value) > KEY_ZONE ? [`Axis${index}${value > 0 ? "Plus" : "Minus"}`] : []));
    const bound = [...codes, ...ways].filter((code) => this.listener.binds(code));
    const arrows = { ArrowLeft: x < -KEY_ZONE || down(14), ArrowRight: x > KEY_ZONE || down(15), ArrowUp: y < -KEY_ZONE || down(12), ArrowDown: y > KEY_ZONE || down(13) };
    this.hold({ ...Object.fromEntries(Object.keys(this.held).map((code) => [code, false])), ...arrows, ...Object.fromEntries(bound.map((code) => [code, true])) });
    const trigger = [7, 0].some((index) => down(index) && !bound.includes(`Button${index}`));
    if (trigger && !this.trigger) this.listener.take();
    if (!trigger && this.trigger) this.listener.release();
    this.trigger = trigger;
  }

  hold(wanted) {
    for (const [code, on] of Object.entries(wanted)) {
      if (on && !this.held[code]) this.listener.press(code);
      else if (!on && this.held[code]) this.listener.lift(code);
    }
    this.held = wanted;
  }
}
