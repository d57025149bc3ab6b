// Two small drawings: who acted when, and how the returns go.

const NAMES = { player: "the agent", teacher: "a teacher", fallback: "too late: fallback used", idle: "you held nothing" };
const MOST_REMEMBERED = 3000;
const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

function prepare(canvas) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Runs of [first tick, phase, by], with words on hover and, by the arrow keys, on focus. */
export class Band {
  /** @param {HTMLCanvasElement} canvas @param {HTMLElement} tip */
  constructor(canvas, tip) {
    this.canvas = canvas;
    this.tip = tip;
    this.band = [];
    this.now = 0;
    this.trial = null;
    this.seen = new Map(); // tick: [proposed, executed], as far as this page was told
    this.cursor = null;
    canvas.addEventListener("pointermove", ({ offsetX }) => this.point(this.start + Math.floor((offsetX / canvas.clientWidth) * this.ticks)));
    for (const kind of ["pointerleave", "blur"]) canvas.addEventListener(kind, () => this.point(null));
    canvas.addEventListener("focus", () => this.point(this.now - 1));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -25, PageUp: 25, Home: -Infinity, End: Infinity }[event.code];
      if (step) this.point(Math.max(this.start, Math.min(this.now - 1, (this.cursor ?? this.now) + step)));
    });
  }

  get start() {
    return this.band[0]?.[0] ?? 0;
  }

  get ticks() {
    return Math.max(this.now - this.start, 60);
  }

  /** @param {any} status */
  show(status) {
    if (status.trial_id !== this.trial) {
      this.trial = status.trial_id;
      this.seen.clear();
    }
    this.role = status.role;
    this.band = status.band ?? [];
    this.now = status.tick;
    if (status.executed) this.seen.set(status.tick - 1, [status.proposal?.label ?? "–", status.executed.label]);
    if (this.seen.size > MOST_REMEMBERED) this.seen.delete(this.seen.keys().next().value);
    this.draw();
    this.describe();
  }

  draw() {
    const { context, width, height } = prepare(this.canvas);
    if (!this.band.length || this.now < 1) return;
    this.band.forEach(([first, phase, by], index) => {
      const last = this.band[index + 1]?.[0] ?? this.now;
      const left = ((first - this.start) / this.ticks) * width, right = ((last - this.start) / this.ticks) * width;
      context.fillStyle = colour(by === "fallback" ? "--offline" : by === "teacher" ? "--you" : phase === "paused" ? "--paused" : "--agent");
      context.globalAlpha = (by === "player" || by === "idle") && phase !== "paused" ? 0.55 : 1;
      context.fillRect(left, 0, Math.max(right - left, 2), height);
      if (by === this.role && by === "teacher" && right - left > 34) {
        context.fillStyle = colour("--on-color");
        context.font = "600 11px system-ui, sans-serif";
        context.fillText("YOU", left + 6, height / 2 + 4);
      }
    });
    context.globalAlpha = 1;
    if (this.cursor !== null) {
      context.fillStyle = colour("--text");
      context.fillRect(((this.cursor - this.start) / this.ticks) * width, 0, 2, height);
    }
  }

  /** @param {number | null} tick */
  point(tick) {
    this.cursor = tick === null || tick >= this.now || tick < this.start ? null : tick;
    this.draw();
    this.describe();
  }

  describe() {
    const { canvas, tip, cursor } = this;
    canvas.setAttribute("aria-valuemin", String(this.start));
    canvas.setAttribute("aria-valuemax", String(Math.max(this.now - 1, 0)));
    canvas.setAttribute("aria-valuenow", String(cursor ?? Math.max(this.now - 1, 0)));
    const at = this.band.findLastIndex(([first]) => first <= (cursor ?? -1));
    tip.hidden = at < 0;
    if (at < 0) return canvas.removeAttribute("aria-valuetext");
    const [first, phase, by] = this.band[at];
    const told = this.seen.get(cursor);
    const who = phase === "paused" ? "paused" : by === this.role ? "you" : NAMES[by] ?? by;
    const text = `tick ${cursor}: ${who}, since tick ${first}${told ? ` · ${this.role === "player" ? "" : `proposed ${told[0]} │ `}executed ${told[1]}` : ""}`;
    canvas.setAttribute("aria-valuetext", text);
    if (tip.textContent !== text) tip.textContent = text;
    const left = ((cursor - this.start) / this.ticks) * canvas.clientWidth;
    tip.style.left = `${Math.max(0, Math.min(left, canvas.clientWidth - tip.offsetWidth))}px`;
  }
}

/** @param {HTMLCanvasElement} canvas @param {number[]} returns oldest first */
export function drawSpark(canvas, returns) {
  const { context, width, height } = prepare(canvas);
  const values = (returns ?? []).slice(-40);
  if (!values.length) return;
  const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
  const step = width / Math.max(values.length, 20), bar = Math.max(step - 2, 1);
  values.forEach((value, index) => {
    const size = 4 + ((value - low) / range) * (height - 6);
    context.fillStyle = colour("--agent");
    context.globalAlpha = 0.35 + (0.65 * (index + 1)) / values.length;
    context.fillRect(index * step, height - size, bar, size);
  });
  context.globalAlpha = 1;
}
