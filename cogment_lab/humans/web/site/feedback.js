// Opinions with the moment they were had, notes, and what a trial was worth.

import { $ } from "./view.js";

const SIGNAL_MS = 100;

export class Feedback {
  /**
   * @param {(message: object) => void} send
   * @param {{serverTime: () => number | null, seen: () => {tick: number, trial: string | null}}} moment
   * @param {(text: string, milliseconds: number) => void} say
   */
  constructor(send, moment, say) {
    this.send = send;
    this.moment = moment;
    $("bad").addEventListener("click", () => this.give(-1));
    $("good").addEventListener("click", () => this.give(1));
    const slider = $("feedback");
    let signal = 0; // a held slider is a signal: its value ten times a second
    const stop = () => {
      clearInterval(signal);
      signal = 0;
      slider.value = "0";
    };
    slider.addEventListener("pointerdown", () => {
      clearInterval(signal);
      signal = setInterval(() => Number(slider.value) && this.give(Number(slider.value)), SIGNAL_MS);
    });
    for (const kind of ["pointerup", "pointercancel", "blur"]) slider.addEventListener(kind, stop);
    slider.addEventListener("change", () => {
      if (signal) return stop();
      this.give(Number(slider.value)); // by keyboard: once for each step
      return undefined;
    });
    addEventListener("blur", stop);
    const note = (to) => {
      const text = $("note").value.trim();
      if (!text) return;
      send({ type: "note", text, to, ...this.now() });
      $("note").value = "";
      say(to === "experimenter" ? "Sent to the experimenter" : "Kept in the trial's record", 2500);
    };
    $("note-form").addEventListener("submit", (event) => {
      event.preventDefault();
      note("record");
    });
    $("note-send").addEventListener("click", () => note("experimenter"));
    for (const [name, text] of [["success", "Kept: a success."], ["failure", "Kept: a failure."], ["discard", "This trial is marked as discarded."]]) {
      $(name).addEventListener("click", () => {
        send({ type: "request", name, t: performance.now(), trial: this.moment.seen().trial });
        say(text, 3000);
      });
    }
  }

  now() {
    return { t: performance.now(), captured: this.moment.serverTime(), ...this.moment.seen() };
  }

  /** @param {number} value -1 (bad) to 1 (good) */
  give(value) {
    this.send({ type: "feedback", value, ...this.now() });
    const button = $(value < 0 ? "bad" : "good");
    button.classList.add("lit");
    setTimeout(() => button.classList.remove("lit"), 150);
  }
}
