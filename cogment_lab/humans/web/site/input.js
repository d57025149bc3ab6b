// Keys and buttons: what is held, and what is asked for. Devices only request; the trial decides.

import { Gamepad } from "./gamepad.js";

const HEARTBEAT_MS = 250;
const INSIST_MS = 300;
const CONTROL_MS = 15; // screens of 144 Hz would say more than the server hears
const MODIFIERS = /^(Control|Alt|Meta)(Left|Right)$/;
const typing = (target) => target instanceof HTMLElement && target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");

export class Input {
  /**
   * @param {(message: object) => void} send
   * @param {{onHeld: (held: string[]) => void, onAxes: (values: number[] | null) => boolean,
   *          onFeedback: (value: number) => void, onRelease: () => void}} listener
   * @param {{codeOf: (code: string) => string | null, binds: (code: string) => boolean, choosePad: (code: string) => boolean}} remap
   */
  constructor(send, listener, remap) {
    this.send = send;
    this.listener = listener;
    this.remap = remap;
    this.held = [];
    this.taken = false; // what this tab last asked for
    this.stays = false; // until it is handed back, not only while something is held
    this.controlledAt = 0;
    this.controlTimer = 0;
    this.action = null;
    this.paused = false;
    this.role = "teacher";
    this.gamepad = new Gamepad({
      press: (code) => this.press(code.startsWith("Arrow") ? code : (remap.codeOf(code) ?? "")),
      lift: (code) => this.lift(code.startsWith("Arrow") ? code : (remap.codeOf(code) ?? "")),
      take: () => this.take(),
      release: () => this.release(),
      axes: (values) => listener.onAxes(values),
      binds: (code) => remap.binds(code),
      chosen: (code) => remap.choosePad(code),
    });
    addEventListener("keydown", (event) => this.onKeyDown(event));
    addEventListener("keyup", (event) => this.onKeyUp(event));
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.releaseAll();
      this.send({ type: "visible", visible: !document.hidden });
    });
    setInterval(() => this.enabled && this.report(), HEARTBEAT_MS);
  }

  /** Whether what this tab asks for is done. */
  get enabled() {
    return this.gamepad.enabled;
  }

  set enabled(value) {
    this.gamepad.enabled = value;
  }

  get acts() {
    return this.role === "teacher" || this.role === "player";
  }

  get judges() {
    return this.role === "teacher" || this.role === "evaluator";
  }

  onKeyDown(event) {
    if (event.code === "Escape" && document.activeElement instanceof HTMLElement) document.activeElement.blur();
    const code = event.code;
    const isBound = MODIFIERS.test(code) && this.remap.binds(code);
    if (typing(event.target) || ((event.ctrlKey || event.metaKey || event.altKey) && !isBound && !this.holdsModifier) || document.querySelector("dialog[open]")) return;
    const onSlider = code.startsWith("Arrow") && event.target instanceof HTMLElement && event.target.matches("input[type=range], [role=slider]");
    if (onSlider) return;
    if ((code === "Space" && this.role === "teacher") || code.startsWith("Arrow") || isBound) event.preventDefault();
    if (event.repeat || !this.enabled) return;
    if (code === "KeyZ" && this.judges) this.listener.onFeedback(-1);
    else if (code === "KeyX" && this.judges) this.listener.onFeedback(1);
    else if (!this.acts) return;
    else if (code === "Space") this.take();
    else if (code === "KeyT") this.toggle();
    else if (code === "KeyP") this.request(this.paused ? "resume" : "pause");
    else if (code === "Period") this.request("step");
    else {
      const meant = this.remap.codeOf(code);
      if (meant) this.press(meant);
    }
  }

  onKeyUp(event) {
    if (event.code === "Space") {
      if (typing(event.target) || this.role !== "teacher") return; // elsewhere it presses the button that has the focus
      event.preventDefault();
      this.release();
    } else this.lift(this.remap.codeOf(event.code));
  }

  /** Whether a key like Control is held as a key of the environment: with others it is no shortcut then. */
  get holdsModifier() {
    return this.held.some((code) => MODIFIERS.test(code));
  }

  take(stays = false) {
    if (this.role !== "teacher") return;
    this.taken = true;
    this.stays = stays;
    this.takenAt = performance.now();
    this.report();
    this.request("take");
  }

  /** Ask again for what is still held: a new trial began, or the learner was busy. */
  insist() {
    if (this.taken && performance.now() - this.takenAt > INSIST_MS) this.take(this.stays);
  }

  release() {
    if (!this.taken) return;
    this.taken = false;
    this.request("release");
    this.control(null); // what a form or a slider says ends with it
    this.listener.onRelease();
  }

  toggle() {
    if (this.taken) this.release();
    else this.take(true);
  }

  press(code) {
    if (!code || this.held.includes(code) || !this.acts) return;
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
    this.control(null);
    this.listener.onRelease();
    this.release();
  }

  report() {
    this.send({ type: "keys", held: this.held, t: performance.now() });
    this.listener.onHeld(this.held);
  }

  /** Hold an action itself, as sliders and forms do; null lets go. */
  control(action) {
    this.action = action;
    const wait = CONTROL_MS - (performance.now() - this.controlledAt);
    if (wait <= 0) this.sendControl();
    else this.controlTimer ||= setTimeout(() => this.sendControl(), wait);
  }

  sendControl() {
    clearTimeout(this.controlTimer);
    this.controlTimer = 0;
    this.controlledAt = performance.now();
    this.send({ type: "controls", action: this.action, t: performance.now() });
  }

  request(name) {
    this.send({ type: "request", name, t: performance.now() });
  }

  /** Take control for as long as something is held; returns what gives it back. */
  borrow() {
    if (this.role !== "teacher" || this.taken) return () => {};
    this.take();
    return () => this.release();
  }

  /** Make an element a key: held while pointed at, or while Enter is down on it. */
  holdable(element, down, up) {
    let held = false;
    const press = () => {
      if (held || !this.enabled) return;
      held = true;
      down();
    };
    const lift = () => {
      if (!held) return;
      held = false;
      up();
    };
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      press();
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) element.addEventListener(kind, lift);
    element.addEventListener("keydown", (event) => event.code === "Enter" && press());
    element.addEventListener("keyup", (event) => event.code === "Enter" && lift());
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}
