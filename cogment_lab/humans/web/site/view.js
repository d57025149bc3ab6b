// What is seen: frames (newest wins), the phase, the numbers. Text from elsewhere is only ever textContent.

import { Band, drawSpark } from "./band.js";

/** @param {string} id @returns {any} an element of the page, of the kind that its HTML says */
export const $ = (id) => document.getElementById(id);
/** @param {string} selector @returns {any[]} */
export const all = (selector) => [...document.querySelectorAll(selector)];

/** @param {string} tag @param {string} text @param {object} more properties */
export const element = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

const WHY = { fallback: " · too late: fallback used", idle: " · nothing held" };

const takeovers = (count) => `${count} ${count === 1 ? "takeover" : "takeovers"}`;

function set(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function rows(table, pairs) {
  table.replaceChildren(
    ...pairs.map((pair) => {
      const row = document.createElement("tr");
      for (const text of pair) row.insertCell().textContent = text;
      return row;
    }),
  );
}

export class View {
  /** @param {(message: object) => void} send */
  constructor(send) {
    this.send = send;
    this.framesPainted = 0;
    this.sequence = 0;
    this.shownTick = 0;
    this.painting = false;
    this.waiting = null;
    this.context = $("frame").getContext("2d");
    this.phase = "";
    this.band = new Band($("band"), $("band-tip"));
    this.painted = [];
  }

  // --- frames ---

  /** @param {ArrayBuffer} data header of 24 bytes, then the picture */
  onFrame(data) {
    this.waiting = data; // a newer frame replaces one that was not painted yet
    if (!this.painting) this.paint();
  }

  async paint() {
    this.painting = true;
    while (this.waiting) {
      const data = this.waiting;
      this.waiting = null;
      const header = new DataView(data, 0, 24);
      const type = ["", "image/jpeg", "image/webp", "image/png"][header.getUint32(0, true)];
      const picture = await createImageBitmap(new Blob([new Uint8Array(data, 24)], { type })).catch(() => null);
      if (!picture) continue; // a broken frame is one frame lost
      const canvas = $("frame");
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        canvas.width = picture.width;
        canvas.height = picture.height;
      }
      this.context.drawImage(picture, 0, 0);
      picture.close();
      this.framesPainted += 1;
      this.sequence = header.getUint32(4, true);
      this.shownTick = header.getUint32(8, true);
      const now = performance.now();
      this.painted = [...this.painted.filter((time) => now - time < 1000), now];
      this.send({ type: "ack", seq: this.sequence, painted: now });
    }
    this.painting = false;
  }

  /** Pictures painted during the last second. */
  get fps() {
    const now = performance.now();
    return this.painted.filter((time) => now - time < 1000).length;
  }

  // --- the phase ---

  /** @param {string} phase @param {string} text @param {string} detail changes often, and is not announced */
  showPhase(phase, text, detail = "") {
    set("phase", text + detail);
    if (phase === this.phase) return;
    $("phase").dataset.phase = document.body.dataset.phase = this.phase = phase;
    set("announce", text.replace(/^[^\w]+/, ""));
  }

  hint(text, milliseconds = 0) {
    set("hint", text);
    clearTimeout(this.hintTimer);
    if (milliseconds) this.hintTimer = setTimeout(() => set("hint", ""), milliseconds);
  }

  // --- the numbers ---

  showStatus(status, roundTrip) {
    set("env", status.env_id);
    document.title = `${status.env_id} · seat`;
    set("trial", `trial ${status.trial_number + 1}${status.seed === null ? "" : ` · seed ${status.seed}`}`);
    const asked = status.pace === "max" ? "" : `/${Math.round(status.fps)}`;
    set("pill", `${status.pace} ${Math.round(status.rate)}${asked} · ${this.fps} fps · ${Math.round(roundTrip)} ms`);
    set("proposal", status.proposal?.label ?? (status.shows_proposal ? "–" : "hidden"));
    $("proposal").parentElement.classList.toggle("hides-proposal", !status.shows_proposal);
    set("executed", status.executed ? `${status.executed.label}${WHY[status.executed.by] ?? ""}` : "–");
    const [best] = status.confidence ?? [];
    const sure = best && best.label === status.proposal?.label ? ` · ${Math.round(100 * best.p)} %` : "";
    set("phase-proposal", status.proposal ? `wants ${status.proposal.label}${sure}` : "");
    set("pressed", status.pressed ?? "–");
    set("return", status.return.toFixed(Math.abs(status.return) < 100 ? 1 : 0));
    set("tick", String(status.tick));
    set("takeovers", String(status.takeovers));
    set("feedbacks", String(status.feedbacks));
    const help = status.tick ? status.helped_ticks / status.tick : 0;
    set("helped", `${Math.round(100 * help)} %`);
    $("share").style.width = `${100 * help}%`;
    const allHelp = status.all_ticks ? status.all_helped_ticks / status.all_ticks : 0;
    set("all-help", `${takeovers(status.all_takeovers)} · ${(100 * allHelp).toFixed(1)} %`);
    const last = status.returns.slice(-20);
    set("last-n", String(last.length));
    set("mean", last.length ? `mean ${(last.reduce((sum, value) => sum + value, 0) / last.length).toFixed(1)}` : "–");
    set("progress-title", status.learns ? "Learning" : "Returns");
    const learner = status.learner ?? {};
    const steps = learner.steps ?? status.all_ticks;
    const speed = learner.steps_per_s ? ` · ${Math.round(learner.steps_per_s)}/s` : "";
    set("learner", `${steps >= 10000 ? `${(steps / 1000).toFixed(1)}k` : steps} steps${speed}`);
    this.band.show(status);
    drawSpark($("spark"), status.returns);
    for (const pace of ["max", "live", "half", "quarter", "step"]) $(`pace-${pace}`).setAttribute("aria-pressed", String(status.pace === pace));
    set("pause-text", status.phase === "paused" ? "go on" : "pause");
    $("show-proposal").setAttribute("aria-pressed", String(status.shows_proposal));
    this.showConfidence(status.confidence);
    this.showObservation(status);
  }

  showConfidence(confidence) {
    const key = JSON.stringify(confidence ?? []);
    if (key === this.confidenceKey) return;
    this.confidenceKey = key;
    $("confidence").replaceChildren(
      ...(confidence ?? []).map(({ label, p }) => {
        const item = element("li");
        const bar = element("i");
        bar.style.width = `${100 * p}%`;
        item.append(bar, element("span", label), element("span", `${Math.round(100 * p)} %`));
        return item;
      }),
    );
  }

  showObservation(status) {
    const instead = !status.renderable && status.observation;
    $("observation").hidden = !instead;
    $("frame").hidden = Boolean(instead);
    if (instead) rows($("observation"), status.observation);
    const mask = status.mask ? [["action mask", status.mask.join(" ")]] : [];
    if ($("inspector").open) rows($("values"), [...(status.observation ?? []), ...mask]);
  }

  // --- what is wrong, and what to do about it ---

  /** @param {{kind: string, text: string, code?: string, actions?: [string, string, () => void][]} | null} message */
  banner(message) {
    const key = message ? [message.kind, message.text, ...(message.actions ?? []).map(([id, text]) => id + text)].join("|") : "";
    if (key === this.bannerKey) return;
    this.bannerKey = key;
    const banner = $("banner");
    banner.hidden = !message;
    banner.replaceChildren();
    if (!message) return;
    banner.dataset.kind = message.kind;
    banner.append(element("span", message.text));
    if (message.code) banner.append(element("code", message.code));
    for (const [id, text, act] of message.actions ?? []) {
      const button = element("button", text, { id });
      button.addEventListener("click", act);
      banner.append(button);
    }
  }

  /** @param {string} title @param {string[]} lines @param {string} big @param {[string, string, () => void][]} actions id, text, deed */
  overlay(title, lines = [], big = "", actions = []) {
    const key = [title, big, ...lines, ...actions.map(([id]) => id)].join("|");
    if (key === this.overlayKey) return;
    this.overlayKey = key;
    const overlay = $("overlay");
    overlay.hidden = !title && !big;
    overlay.replaceChildren();
    if (big) overlay.append(element("div", big, { className: "count" }));
    if (title) overlay.append(element("strong", title));
    for (const line of lines) overlay.append(element("span", line));
    if (!actions.length) return;
    const row = element("div", "", { className: "row" });
    for (const [id, text, act] of actions) {
      const button = element("button", text, { id });
      button.addEventListener("click", act);
      row.append(button);
    }
    overlay.append(row);
  }
}
