// What is seen: frames (newest wins), the phase, the numbers, the banners. Text from elsewhere is only ever textContent.

import { drawBand, drawSpark } from "./band.js";

export const $ = (id) => document.getElementById(id);
const PHASES = {
  waiting: "… Waiting for a trial",
  autonomous: "▶ AGENT IS FLYING",
  correcting: "YOU are flying",
  paused: "❚❚ PAUSED",
  learning: "⟳ LEARNING",
  offline: "⚠ OFFLINE · the agent is flying",
  closed: "✓ Training finished",
};

export class View {
  /** @param {(message: object) => void} send */
  constructor(send) {
    this.send = send;
    this.framesPainted = 0;
    this.painting = false;
    this.waiting = null;
    this.context = $("frame").getContext("2d");
    this.phase = "waiting";
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
      this.send({ type: "ack", seq: header.getUint32(4, true), painted: performance.now() });
    }
    this.painting = false;
  }

  // --- the phase ---

  showPhase(phase, detail = "") {
    const text = PHASES[phase] + detail;
    if ($("phase").textContent !== text) $("phase").textContent = text;
    $("phase").dataset.phase = document.body.dataset.phase = this.phase = phase;
  }

  hint(text, milliseconds = 0) {
    $("hint").textContent = text;
    clearTimeout(this.hintTimer);
    if (milliseconds) this.hintTimer = setTimeout(() => ($("hint").textContent = ""), milliseconds);
  }

  // --- the numbers ---

  showStatus(status, roundTrip) {
    const set = (id, text) => {
      if ($(id).textContent !== text) $(id).textContent = text;
    };
    set("env", status.env_id);
    document.title = `${status.env_id} · seat`;
    set("trial", `trial ${status.trial_number + 1}${status.seed === null ? "" : ` · seed ${status.seed}`}`);
    set("pill", `${status.pace} ${Math.round(status.rate)}${status.pace === "max" ? "" : `/${Math.round(status.fps)}`} ticks/s · ${Math.round(roundTrip)} ms`);
    set("proposal", status.proposal?.label ?? "–");
    set("executed", status.executed?.label ?? "–");
    set("pressed", status.pressed ?? "–");
    set("return", status.return.toFixed(Math.abs(status.return) < 100 ? 1 : 0));
    set("tick", String(status.tick));
    set("takeovers", String(status.takeovers));
    const help = status.tick ? status.helped_ticks / status.tick : 0;
    set("helped", `${Math.round(100 * help)} %`);
    $("share").style.width = `${100 * help}%`;
    const allHelp = status.all_ticks ? status.all_helped_ticks / status.all_ticks : 0;
    set("all-help", `${status.all_takeovers} takeovers · ${(100 * allHelp).toFixed(1)} %`);
    const last = status.returns.slice(-20);
    set("last-n", String(last.length));
    set("mean", last.length ? `mean ${(last.reduce((sum, value) => sum + value, 0) / last.length).toFixed(1)}` : "–");
    const learner = status.learner ?? {};
    const steps = learner.steps ?? status.all_ticks;
    const speed = learner.steps_per_s ? ` · ${Math.round(learner.steps_per_s)}/s` : "";
    set("learner", `${steps >= 10000 ? `${(steps / 1000).toFixed(1)}k` : steps} steps${speed}`);
    drawBand($("band"), status.band, status.tick);
    drawSpark($("spark"), status.returns);
    for (const pace of ["max", "live", "half", "quarter", "step"]) $(`pace-${pace}`).setAttribute("aria-pressed", String(status.pace === pace));
    $("pause-text").textContent = status.phase === "paused" ? "go on" : "pause";
    $("step").disabled = status.phase !== "paused" && status.pace !== "step";
    this.showConfidence(status.confidence);
    this.showObservation(status);
  }

  showConfidence(confidence) {
    $("confidence").replaceChildren(
      ...(confidence ?? []).slice(0, 6).map(({ label, p }) => {
        const item = document.createElement("li");
        item.textContent = `${label} ${Math.round(100 * p)} %`;
        return item;
      }),
    );
  }

  showObservation(status) {
    const table = $("observation");
    table.hidden = !status.observation;
    $("frame").hidden = Boolean(status.observation);
    if (!status.observation) return;
    table.replaceChildren(
      ...status.observation.map((pair) => {
        const row = document.createElement("tr");
        for (const text of pair) row.insertCell().textContent = text;
        return row;
      }),
    );
  }

  // --- what is wrong, and what to do about it ---

  /** @param {{kind: string, text: string, code?: string, actions?: [string, string, () => void][]} | null} message */
  banner(message) {
    const key = message ? message.kind + message.text : "";
    if (key === this.bannerKey) return;
    this.bannerKey = key;
    const banner = $("banner");
    banner.hidden = !message;
    banner.replaceChildren();
    if (!message) return;
    banner.dataset.kind = message.kind;
    banner.append(Object.assign(document.createElement("span"), { textContent: message.text }));
    if (message.code) banner.append(Object.assign(document.createElement("code"), { textContent: message.code }));
    for (const [id, text, act] of message.actions ?? []) {
      const button = Object.assign(document.createElement("button"), { id, textContent: text });
      button.addEventListener("click", act);
      banner.append(button);
    }
  }

  overlay(title, lines = [], big = "") {
    const key = [title, big, ...lines].join("|");
    if (key === this.overlayKey) return;
    this.overlayKey = key;
    const overlay = $("overlay");
    overlay.hidden = !title && !big;
    overlay.replaceChildren();
    if (big) overlay.append(Object.assign(document.createElement("div"), { className: "count", textContent: big }));
    if (title) overlay.append(Object.assign(document.createElement("strong"), { textContent: title }));
    for (const line of lines) overlay.append(Object.assign(document.createElement("span"), { textContent: line }));
  }
}
