// The trials: a place in line, the seat in a frame, and what to do when it ended too early.

import { button, card, make } from "./dom.js";
import { outlivesReload, tab } from "./storage.js";

const SEAT_TOKEN = "cogment-token"; // where the seat's page, in a frame of this tab, looks for it
const ENDED = {
  idle: ["Are you still there?", "Nothing happened for a while, so your place went to somebody else. What you did is kept."],
  lost: ["Your session ended unexpectedly", "That was not your fault, and what you did is kept. You can go on with the trials that are left."],
  failed: ["Something is wrong on our side", "Your session could not be started. The experimenter has been told. What you did is kept; please try again in a minute."],
};

/** @param {{done: number, total: number}} content */
const left = ({ done, total }) => `${total - done} of ${total} ${total === 1 ? "trial" : "trials"} left.`;

/** Before a session: begin, wait in line, or go on after one that ended. */
export function doorPage(state, begin) {
  const { step, content, session } = state;
  if (session?.state === "waiting") return waiting(session.place);
  if (session?.state === "starting") return starting();
  const ended = session?.state === "ended" && session.why !== "done" ? ENDED[session.why] ?? ENDED.lost : null;
  const isPractice = step === "practice";
  const fresh = content.done === 0;
  const title = ended?.[0] ?? (isPractice ? "Practice first" : fresh ? "Ready?" : "Welcome back");
  const count = content.total === 1 ? "one trial" : `${content.total} trials`;
  const told = ended?.[1] ?? (isPractice && fresh ? `You begin with ${count} for practice. ${content.total === 1 ? "It does" : "They do"} not count.` : fresh ? `There ${content.total === 1 ? "is" : "are"} ${count}.` : left(content));
  const lines = [make("p", { textContent: told })];
  if (ended && !fresh) lines.push(make("p", { className: "quiet", textContent: left(content) }));
  return card(title, lines, [button(ended || !fresh ? "Continue" : "Start", begin, { className: "strong", id: "begin" })]);
}

function waiting(place) {
  const ahead = place - 1;
  const told = ahead === 0 ? "You are next." : `${ahead} ${ahead === 1 ? "person is" : "people are"} before you.`;
  return card("One moment: all places are taken", [
    make("p", { className: "quiet", textContent: "Your place in the line" }),
    make("p", { className: "place", textContent: String(place), "aria-hidden": "true" }),
    make("p", { textContent: `${told} It starts by itself; keep this page open.` }),
  ]);
}

function starting() {
  return card("Your session starts…", [make("div", { className: "busy", role: "progressbar", "aria-label": "Starting" }), make("p", { className: "quiet", textContent: "This takes some seconds." })]);
}

/** The seat's own page in a frame. */
export class SeatFrame {
  /** @param {{seat: string, token: string}} session @param {() => void} touched the person did something there */
  constructor(session, touched) {
    this.seat = session.seat;
    tab.setItem(SEAT_TOKEN, session.token); // of the same origin and tab, so the frame finds it there
    const token = outlivesReload ? "" : `&token=${encodeURIComponent(session.token)}`; // unless nothing is kept
    this.progress = make("p", { className: "progress", role: "status" });
    this.bar = make("progress", { max: 1, value: 0, "aria-label": "Trials done" });
    const help = button("?", () => this.help(), { className: "icon", title: "Help", "aria-label": "Help: how to do this trial" });
    this.warning = make("p", { className: "still", role: "alert", hidden: true });
    this.frame = make("iframe", { title: "The trial", src: `./seat/?seat=${encodeURIComponent(session.seat)}${token}` });
    this.frame.addEventListener("load", () => this.dress(touched));
    this.element = make("section", { className: "stage" }, make("div", { className: "row" }, this.progress, this.bar, help), this.warning, this.frame);
  }

  /** Leave out of the seat's page what is not for participants, and notice what they do there. */
  dress(touched) {
    const inside = this.frame.contentDocument;
    if (!inside) return;
    inside.head.append(Object.assign(inside.createElement("link"), { rel: "stylesheet", href: "../study/site/inside.css" }));
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) inside.addEventListener(kind, touched, { capture: true, passive: true });
    this.focus();
  }

  /** Keys go to the trial, and not to this page. */
  focus() {
    this.frame.focus();
    this.frame.contentWindow?.focus();
  }

  /** Say in the trial's page how one acts there. */
  help() {
    this.focus();
    this.frame.contentDocument?.getElementById("help-button")?.click();
  }

  show(step, { done, total }, secondsLeft) {
    const number = Math.min(done + 1, total);
    const told = step === "practice" ? `Practice ${number} of ${total}` : `Trial ${number} of ${total}`;
    if (this.progress.textContent !== told) this.progress.textContent = told;
    this.bar.max = total;
    this.bar.value = done;
    this.warning.hidden = secondsLeft === null;
    if (secondsLeft !== null) this.warning.textContent = `Are you still there? Press a key or touch the page, or your session ends in ${secondsLeft} s.`;
  }

  close() {
    tab.removeItem(SEAT_TOKEN);
  }
}
