// How this person acts in an environment (idle rule, turns, key ramps), remembered by this browser.

import { browser } from "./storage.js";
import { $ } from "./view.js";

const VALUES = {
  wait: { read: (value) => value === "yes", write: (value) => (value ? "yes" : "no") },
  idle: { read: (value) => value, write: (value) => value },
  ramp: { read: Number, write: String },
};

export class Acting {
  /** @param {(message: object) => void} send */
  constructor(send) {
    this.send = send;
    this.environment = "";
    for (const [name, { read }] of Object.entries(VALUES)) $(name).addEventListener("change", () => this.choose(name, read($(name).value)));
  }

  /** Someone may act in an environment now: do as they did the last time. */
  recall(environment, role) {
    if (this.environment === environment) return;
    this.environment = environment;
    const fits = ([name, value]) => VALUES[name] && (value !== "agent" || role === "teacher");
    for (const [name, value] of Object.entries(this.saved()).filter(fits)) this.send({ type: "setting", name, value });
  }

  saved() {
    try {
      const saved = JSON.parse(browser.getItem(`cogment-acting:${this.environment}`) ?? "{}");
      return typeof saved === "object" && saved !== null ? saved : {};
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error; // somebody else's entry: as if there were none
      return {};
    }
  }

  choose(name, value) {
    browser.setItem(`cogment-acting:${this.environment}`, JSON.stringify({ ...this.saved(), [name]: value }));
    this.send({ type: "setting", name, value });
  }

  /** Show what the trial does, unless somebody is choosing. @param {Record<string, any>} settings */
  show(settings) {
    for (const [name, { write }] of Object.entries(VALUES)) if (document.activeElement !== $(name) && settings[name] !== undefined) $(name).value = write(settings[name]);
  }
}
