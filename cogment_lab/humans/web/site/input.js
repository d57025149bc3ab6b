// Keys, buttons, sliders, gamepad: what is held, and what is asked for. Devices only request; the trial decides.

const HEARTBEAT_MS = 250;
const INSIST_MS = 300;
const GAMEPAD_DEAD_ZONE = 0.4;
const typing = (target) => target instanceof HTMLElement && target.matches("input:not([type=range]), textarea, select");

export class Input {
  /**
   * @param {(message: object) => void} send
   * @param {{onHeld: (held: string[]) => void}} listener
   */
  constructor(send, listener) {
    this.send = send;
    this.listener = listener;
    this.held = [];
    this.taken = false; // what this tab last asked for
    this.enabled = false;
    this.paused = false;
    addEventListener("keydown", (event) => this.onKeyDown(event));
    addEventListener("keyup", (event) => this.onKeyUp(event));
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.releaseAll();
      this.send({ type: "visible", visible: !document.hidden });
    });
    setInterval(() => {
      this.readGamepad();
      if (this.enabled) this.report();
    }, HEARTBEAT_MS);
  }

  onKeyDown(event) {
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const code = event.code;
    if (code === "Space" || code.startsWith("Arrow")) event.preventDefault();
    if (event.repeat || !this.enabled) return;
    if (code === "Space") this.take();
    else if (code === "KeyT") this.toggle();
    else if (code === "KeyP") this.request(this.paused ? "resume" : "pause");
    else if (code === "Period") this.request("step");
    else if (code === "KeyZ") this.feedback(-1);
    else if (code === "KeyX") this.feedback(1);
    else this.press(code);
  }

  onKeyUp(event) {
    if (event.code === "Space") {
      event.preventDefault();
      if (!typing(event.target)) this.release();
    } else this.lift(event.code);
  }

  take() {
    this.taken = true;
    this.takenAt = performance.now();
    this.report();
    this.request("take");
  }

  /** Ask again for what is still held: a new trial began, or the learner was busy. */
  insist() {
    if (this.taken && performance.now() - this.takenAt > INSIST_MS) this.take();
  }

  release() {
    if (!this.taken) return;
    this.taken = false;
    this.request("release");
  }

  toggle() {
    if (this.taken) this.release();
    else this.take();
  }

  press(code) {
    if (this.held.includes(code)) return;
    this.held.push(code);
    this.report();
  }

  lift(code) {
    if (!this.held.includes(code)) return;
    this.held = this.held.filter((each) => each !== code);
    this.report();
  }

  /** Let go of everything: the page lost focus, or the connection is gone. */
  releaseAll() {
    this.held = [];
    this.report();
    this.send({ type: "controls", action: null, t: performance.now() });
    this.release();
  }

  report() {
    this.send({ type: "keys", held: this.held, t: performance.now() });
    this.listener.onHeld(this.held);
  }

  request(name) {
    this.send({ type: "request", name, t: performance.now() });
  }

  feedback(value) {
    this.send({ type: "feedback", value, t: performance.now() });
  }

  /** Make an element a key: held while pointed at. */
  holdable(element, down, up) {
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      if (this.enabled) down();
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(kind, up);
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** The first gamepad's stick and cross are the arrow keys, its right trigger or first button takes over. */
  readGamepad() {
    const pad = (navigator.getGamepads?.() ?? []).find((each) => each);
    if (!pad || !this.enabled) return;
    const [x, y] = pad.axes;
    const wanted = {
      ArrowLeft: x < -GAMEPAD_DEAD_ZONE || pad.buttons[14]?.pressed,
      ArrowRight: x > GAMEPAD_DEAD_ZONE || pad.buttons[15]?.pressed,
      ArrowUp: y < -GAMEPAD_DEAD_ZONE || pad.buttons[12]?.pressed,
      ArrowDown: y > GAMEPAD_DEAD_ZONE || pad.buttons[13]?.pressed,
    };
    for (const [code, on] of Object.entries(wanted)) {
      if (on) this.press(code);
      else if (this.padHeld?.[code]) this.lift(code);
    }
    this.padHeld = wanted;
    const trigger = Boolean(pad.buttons[7]?.pressed || pad.buttons[0]?.pressed);
    if (trigger && !this.padTrigger) this.take();
    if (!trigger && this.padTrigger) this.release();
    this.padTrigger = trigger;
    if (trigger || Object.values(wanted).some(Boolean)) setTimeout(() => this.readGamepad(), 16);
  }
}
