// Other keys for the same actions, remembered by this browser for each environment.

import { browser } from "./storage.js";
import { $, element } from "./view.js";
import { keyName } from "./words.js";

const RESERVED = ["Space", "KeyT", "KeyP", "Period", "KeyZ", "KeyX", "Slash", "Tab", "Escape"];

export class Remap {
  /** @param {() => void} onChange called when a key means something else */
  constructor(onChange) {
    this.onChange = onChange;
    this.keymap = null;
    this.environment = "";
    this.chosen = {}; // code of the key map: code of the keyboard
    this.waiting = null;
    $("remap").addEventListener("click", () => this.open());
    $("remap-reset").addEventListener("click", () => this.choose({}));
    $("remap-dialog").addEventListener("keydown", (event) => this.onKey(event));
    $("remap-dialog").addEventListener("close", () => (this.waiting = null));
  }

  /** @param {string} environment @param {{bindings: {keys: string[], label: string}[]} | null} keymap */
  use(environment, keymap) {
    this.environment = environment;
    this.keymap = keymap;
    this.chosen = {};
    try {
      const saved = JSON.parse(browser.getItem(`cogment-keys:${environment}`) ?? "{}");
      for (const code of this.codes()) if (typeof saved[code] === "string") this.chosen[code] = saved[code];
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error; // somebody else's entry: as if there were none
    }
    $("remap").hidden = !this.codes().length;
  }

  codes() {
    return [...new Set((this.keymap?.bindings ?? []).flatMap(({ keys }) => keys))];
  }

  /** The key to press for a code of the key map. */
  keyOf(code) {
    return this.chosen[code] ?? code;
  }

  /** The code of the key map that a pressed key stands for; other keys stand for themselves. */
  codeOf(pressed) {
    const codes = this.codes();
    return codes.find((code) => this.keyOf(code) === pressed) ?? (codes.includes(pressed) ? null : pressed);
  }

  /** Whether a pressed key, or button of a gamepad, means something. */
  binds(pressed) {
    return this.codes().includes(this.codeOf(pressed) ?? "");
  }

  choose(chosen) {
    this.chosen = chosen;
    if (Object.keys(chosen).length) browser.setItem(`cogment-keys:${this.environment}`, JSON.stringify(chosen));
    else browser.removeItem(`cogment-keys:${this.environment}`);
    this.waiting = null;
    this.list();
    this.onChange();
  }

  open() {
    this.list();
    $("remap-dialog").showModal();
  }

  list() {
    const labels = (code) => (this.keymap?.bindings ?? []).filter(({ keys }) => keys.includes(code)).map(({ label }) => label);
    $("remap-list").replaceChildren(
      ...this.codes().flatMap((code) => {
        const button = element("button", this.waiting === code ? "press a key…" : keyName(this.keyOf(code)));
        button.dataset.code = code;
        button.setAttribute("aria-label", `Key for ${labels(code)[0]}, now ${keyName(this.keyOf(code))}`);
        button.addEventListener("click", () => {
          this.waiting = code;
          this.list();
          $("remap-list").querySelector(`[data-code="${code}"]`).focus();
        });
        const place = element("dd");
        place.append(button);
        return [element("dt", labels(code).slice(0, 2).join(", ")), place];
      }),
    );
  }

  onKey(event) {
    if (this.waiting === null || event.repeat) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.code === "Escape") {
      this.waiting = null;
      return this.list();
    }
    return this.choosePressed(event.code);
  }

  /** A gamepad's button was pressed; returns whether it was meant for this. */
  choosePad(pressed) {
    if (this.waiting === null) return false;
    this.choosePressed(pressed);
    return true;
  }

  choosePressed(pressed) {
    const code = this.waiting;
    if (RESERVED.includes(pressed)) {
      $("remap-note").textContent = `${keyName(pressed)} is the page's own. Press another one.`;
      return undefined;
    }
    $("remap-note").textContent = "";
    const chosen = { ...this.chosen, [code]: pressed };
    const other = this.codes().find((each) => each !== code && this.keyOf(each) === pressed);
    if (other) chosen[other] = this.keyOf(code); // they change places
    return this.choose(chosen);
  }
}
