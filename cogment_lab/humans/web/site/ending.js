// The card at the end: what there was, and what there is to do now.

import { address } from "./entry.js";

const HINT = "cogmentlab serve STORE";

export class Ending {
  /**
   * @param {import("./view.js").View} view
   * @param {() => Promise<{trials: boolean, held: boolean} | null>} ask what the server has now, null where it has ended
   */
  constructor(view, ask) {
    this.view = view;
    this.ask = ask;
    this.note = "";
    this.hasTrials = false;
    this.shown = false;
  }

  /** @param {any} status @param {string} role @param {boolean} isOver */
  show(status, role, isOver) {
    if (!isOver) {
      if (this.shown) this.view.overlay("");
      this.shown = false;
      return;
    }
    if (!this.shown) {
      this.shown = true;
      this.note = "";
      this.ask().then((has) => {
        this.hasTrials = Boolean(has?.trials);
        this.draw();
      });
    }
    const count = status.trial_number + 1;
    this.lines = [`${count} ${count === 1 ? "trial" : "trials"} · ${status.all_ticks} ticks`];
    const help = status.all_ticks ? ((100 * status.all_helped_ticks) / status.all_ticks).toFixed(1) : "0";
    if (role === "teacher") this.lines.push(`${status.all_takeovers} ${status.all_takeovers === 1 ? "takeover" : "takeovers"}, ${help} % of the ticks were yours`);
    this.title = status.learns ? "Training finished" : "That was all. Thank you.";
    this.draw();
  }

  draw() {
    if (!this.shown) return;
    /** @type {[string, string, () => void][]} */
    const actions = [["play-again", "Play again", () => this.playAgain()]];
    if (this.hasTrials) actions.unshift(["open-trials", "Open trials", () => this.openTrials()]);
    this.view.overlay(this.title, [...this.lines, this.note].filter(Boolean), "", actions);
  }

  /** @param {string} note */
  say(note) {
    this.note = note;
    this.draw();
  }

  async openTrials() {
    if (await this.ask()) location.assign(address("./lobby"));
    else this.say(`The program has ended. ${HINT} shows its trials.`);
  }

  async playAgain() {
    const has = await this.ask();
    if (has?.held) location.reload();
    else if (has) this.say("Nothing runs here now. As soon as it does, this page goes on.");
    else this.say("The program has ended. Start it again, and open the link that it prints.");
  }
}
