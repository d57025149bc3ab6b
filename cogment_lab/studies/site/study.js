// A participant's way through a study: the server says which step it is, this shows it and hands answers over.

import { Refused, Unreachable, beginSession, canRejoin, enter, getState, join, leave, submit } from "./api.js";
import { button, card, make, prose, wait } from "./dom.js";
import { askToLeave, isGone, leftPage } from "./leaving.js";
import { preflightPage } from "./preflight.js";
import { clearDraft, questionnairePage } from "./questions.js";
import { SeatFrame, doorPage } from "./session.js";
import { browser, tab } from "./storage.js";

const PLAYING_MS = 500;
const RESTING_MS = 5000;
const WARN_SECONDS = 30;
const NAMES = { consent: "Consent", preflight: "Check", instructions: "Instructions", practice: "Practice", trials: "Trials", questionnaire: "Questions", thanks: "Done" };
/** @param {string} id @returns {any} an element of the page, of the kind that its HTML says */
const $ = (id) => document.getElementById(id);

let state = null;
let shown = ""; // what the page is made for: it is made anew only when that changes
let current = { element: null, close: () => {} };
let seat = null;
let touchedAt = performance.now();
const touched = () => { touchedAt = performance.now(); };
const idle = () => (performance.now() - touchedAt) / 1000;

// --- what is shown ---

function put(key, makePage) {
  if (shown === key) return;
  shown = key;
  current.close();
  current = makePage();
  $("page").replaceChildren(current.element);
  const heading = current.element.querySelector("h2");
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
  $("announce").textContent = heading?.textContent ?? "";
}

/** @param {string} key @param {() => HTMLElement} makeCard */
const putCard = (key, makeCard) => put(key, () => ({ element: makeCard(), close: () => {} }));

function notice(text, actions = []) {
  $("notice").hidden = !text;
  $("notice").replaceChildren(make("span", { textContent: text }), ...actions);
}

function showSteps({ steps, step, status }) {
  const here = steps.indexOf(step);
  const items = steps.map((name, index) => {
    const item = make("li", { title: NAMES[name] }, make("span", { textContent: NAMES[name] }));
    item.className = index < here || status === "complete" ? "past" : index === here ? "here" : "";
    if (index === here) item.setAttribute("aria-current", "step");
    return item;
  });
  $("steps").replaceChildren(...items);
  $("steps").hidden = status === "declined" || isGone(status);
  $("leave").hidden = status !== "active";
}

function show(next) {
  state = next;
  document.title = document.hidden && state.session?.state === "running" ? `Your turn: ${state.title}` : state.title;
  $("title").textContent = state.title;
  showSteps(state);
  const { step, content, session, status } = state;
  if (seat && session?.seat !== seat.seat) seat = null;
  if (status === "declined") return putCard("declined", () => card("You do not take part", [make("p", { textContent: "Nothing was recorded but this decision. Thank you for reading; you may close this tab." })]));
  if (isGone(status)) return putCard(`gone ${status}`, () => leftPage(state, () => askToLeave(true, go)));
  if (step === "practice" || step === "trials") return showTrials(step, content, session);
  return put(step, () => PAGES[step](content));
}

function showTrials(step, content, session) {
  if (session?.state !== "running") {
    seat = null;
    return putCard(JSON.stringify([step, content, session]), () => doorPage(state, begin));
  }
  put(`seat ${session.seat}`, () => {
    touched(); // who waited patiently was not idle
    seat = new SeatFrame(session, touched);
    const frame = seat;
    return { element: frame.element, close: () => frame.close() };
  });
  const secondsLeft = Math.ceil(state.idle_timeout - idle());
  return seat.show(step, content, secondsLeft <= Math.min(WARN_SECONDS, state.idle_timeout / 2) ? Math.max(secondsLeft, 0) : null);
}

const PAGES = {
  consent(content) {
    const agree = button("I agree and take part", () => send("consent", { agreed: true }), { className: "strong", id: "agree" });
    const decline = button("I do not take part", () => send("consent", { agreed: false }), { id: "decline" });
    return { element: card("Your consent", prose(content.text), [agree, decline]), close: () => {} };
  },
  preflight: (content) => preflightPage(content, (answers) => send("preflight", answers)),
  instructions(content) {
    let page = 0;
    const [text, count] = [make("div", { className: "prose" }), make("span", { className: "quiet", role: "status" })];
    const turn = (by) => {
      if (page + by >= content.pages.length) return send("instructions", {});
      page = Math.max(0, page + by);
      text.replaceChildren(...prose(content.pages[page]));
      count.textContent = content.pages.length > 1 ? `page ${page + 1} of ${content.pages.length}` : "";
      back.disabled = page === 0;
      forward.textContent = page === content.pages.length - 1 ? "I have read this" : "Next";
      return undefined;
    };
    const back = button("Back", () => turn(-1));
    const forward = button("Next", () => turn(1), { className: "strong", id: "next" });
    back.hidden = content.pages.length === 1;
    turn(0);
    return { element: card("Instructions", [text], [back, forward, count]), close: () => {} };
  },
  questionnaire: (content) => questionnairePage(state.participant, content.questions, async (answers) => {
    const problems = await send("questionnaire", answers);
    if (state.step !== "questionnaire") clearDraft();
    return problems;
  }),
  thanks(content) {
    const lines = prose(content.text);
    const actions = [];
    if (content.code) {
      const code = make("code", { className: "code", textContent: content.code, id: "code" });
      const copy = button("Copy", async () => {
        const copied = await navigator.clipboard?.writeText(content.code).then(() => true, () => false);
        if (!copied) getSelection()?.selectAllChildren(code);
        copy.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
      }, { id: "copy" });
      lines.push(make("div", { className: "row code-row" }, make("span", { className: "quiet", textContent: "Your completion code" }), code, copy));
    }
    if (content.return_url) actions.push(make("a", { className: "button strong", href: content.return_url, rel: "noreferrer", textContent: "Return and finish", id: "return" }));
    else lines.push(make("p", { className: "quiet", textContent: "You may close this tab." }));
    return { element: card("Thank you", lines, actions), close: () => {} };
  },
};

// --- what is done ---

/** Hand over a step; return what is wrong with it, by key. */
async function send(step, answers) {
  touched();
  try {
    show(await submit(step, answers));
    notice("");
    return {};
  } catch (error) {
    return fail(error);
  }
}

async function begin() {
  touched();
  $("begin").disabled = true;
  try {
    show(await beginSession());
  } catch (error) {
    fail(error);
    if ($("begin")) $("begin").disabled = false;
  }
}

/** Stop taking part. @param {boolean} everything whether what was given is deleted */
async function go(everything) {
  try {
    show(await leave(everything));
    clearDraft();
    notice("");
  } catch (error) {
    fail(error);
  }
}

/** Say what went wrong, and go where the server says one is; return what is wrong by key. */
function fail(error) {
  if (error instanceof Unreachable) notice("Connection lost. What you did is kept; trying again…");
  else if (!(error instanceof Refused)) throw error;
  else if (error.status === 401) strangers();
  else if (error.state) show(error.state); // a second click, or another tab was faster
  else if (!Object.keys(error.problems).length) notice(error.message);
  else return error.problems;
  return {};
}

function strangers() {
  seat = null;
  $("leave").hidden = true;
  const come = button("Continue here", async () => {
    tab.removeItem("cogment-study-token");
    shown = "";
    await follow(true);
  }, { className: "strong" });
  if (canRejoin()) return putCard("moved", () => card("You went on somewhere else", [make("p", { textContent: "This study was opened with your link in another tab or browser, so this tab is no longer used." })], [come]));
  const told = "It may be incomplete, or the study is over. Open the link from your invitation again, or ask whoever sent it for a new one.";
  return putCard("invalid", () => card("This link is not valid", [make("p", { textContent: told })], [button("Begin anew", come.click.bind(come))]));
}

async function look() {
  try {
    show(await getState(idle()));
    notice("");
  } catch (error) {
    fail(error);
  }
}

/** Many people join: wait, and say for how long. @param {number} seconds */
async function queue(seconds) {
  notice("");
  const left = make("span", { className: "left" });
  putCard("crowd", () => card("Many people are joining just now", [make("p", {}, "It goes on by itself ", left, "; keep this page open.")]));
  for (let second = seconds; second > 0; second -= 1) {
    ($("page").querySelector(".left") ?? left).textContent = second === 1 ? "in a second" : `in ${second} seconds`;
    await wait(1000);
  }
}

async function follow(anew = false) {
  try {
    await (anew ? join() : enter());
    await look();
  } catch (error) {
    if (error instanceof Refused && error.retryAfter) await queue(error.retryAfter);
    else fail(error);
    if (error instanceof Unreachable) await wait(2000);
    if (error instanceof Unreachable || error.retryAfter) await follow(anew);
  }
}

async function watch() {
  await follow();
  for (;;) {
    const playing = ["practice", "trials"].includes(state?.step) && state.status === "active" && state.session && state.session.state !== "ended";
    await wait(playing || !$("notice").hidden ? PLAYING_MS : RESTING_MS);
    if (shown !== "invalid" && shown !== "moved") await (state ? look() : follow());
  }
}

// --- the rest of the page ---

const dress = (theme) => { document.documentElement.dataset.theme = theme; };
dress(browser.getItem("cogment-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
$("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  dress(next);
  browser.setItem("cogment-theme", next);
  const inside = seat?.frame.contentDocument?.documentElement;
  if (inside) inside.dataset.theme = next;
});
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) addEventListener(kind, touched, { capture: true, passive: true });
$("leave").addEventListener("click", () => askToLeave(state.step !== "consent", go, () => seat?.focus()));
addEventListener("pageshow", (event) => event.persisted && look()); // the back button brought an old picture of this page
watch();
