// The lobby: which seats there are, who sits in them, what was recorded. Text from elsewhere is only ever textContent.

import { address, readLink, sayInstead } from "./entry.js";
import { browser } from "./storage.js";

/** @param {string} id @returns {any} an element of the page, of the kind that its HTML says */
const $ = (id) => document.getElementById(id);
const POLL_MS = 2000;
const WAITING_POLL_MS = 500;
const DUTIES = {
  teacher: "watch the agent, take over when it goes wrong",
  player: "play",
  evaluator: "praise and scold what the agent does",
  observer: "only watch",
};

const { token } = readLink();
let theme = browser.getItem("cogment-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;
$("theme").addEventListener("click", () => {
  theme = theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  browser.setItem("cogment-theme", theme);
});
$("person").value = browser.getItem("cogment-person") ?? "";
$("person").addEventListener("input", () => browser.setItem("cogment-person", $("person").value.trim()));

function element(tag, text = "", more = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...more });
}

function say(text) {
  $("banner").hidden = !text;
  $("banner").dataset.kind = "error";
  $("banner").textContent = text;
}

/** @param {{name: string, role: string, env_id: string | null, held: boolean, occupied: boolean, driver: string | null, viewers: number, may_act: boolean}} seat */
function seatCard(seat) {
  const { name, role, env_id: environment, held, occupied, driver, viewers, may_act: mayAct } = seat;
  const card = element("li");
  card.dataset.kind = !held ? "empty" : !mayAct ? "watch" : occupied ? "taken" : "free";
  const lookers = viewers - (occupied ? 1 : 0);
  const parts = [
    !held ? "nothing runs here now" : occupied ? `taken by ${driver ?? "somebody"}` : role === "observer" ? "" : "free",
    lookers === 1 ? "1 person watches" : lookers > 1 ? `${lookers} people watch` : "",
  ];
  card.append(element("strong", environment ?? "no environment yet"));
  card.append(element("span", name === role ? `${role}: ${DUTIES[role]}` : `${name} · ${role}: ${DUTIES[role]}`, { className: "quiet" }));
  card.append(element("span", parts.filter(Boolean).join(" · "), { className: "who" }));
  const row = element("div", "", { className: "row" });
  const place = `./?seat=${encodeURIComponent(name)}`;
  if (mayAct && !occupied) row.append(element("a", "Sit down", { href: address(place), className: "strong" }));
  row.append(element("a", "Watch", { href: address(`${place}&watch=1`) }));
  for (const link of row.children) link.setAttribute("aria-label", `${link.textContent}: ${name}, ${environment ?? "no environment yet"}`);
  card.append(row);
  return card;
}

function trialRow(trial, isLinked) {
  const row = element("tr");
  const first = element("td");
  const href = address(`./trials?trial=${encodeURIComponent(trial.trial_id)}`);
  first.append(isLinked ? element("a", trial.trial_id, { href }) : document.createTextNode(trial.trial_id));
  const helped = trial.n_ticks ? `${Math.round((100 * trial.n_interventions) / trial.n_ticks)} %` : "";
  const number = { className: "number" };
  row.append(
    first,
    element("td", trial.env_id),
    element("td", String(trial.n_ticks), number),
    element("td", trial.total_reward?.toFixed(1) ?? "–", number),
    element("td", helped, number),
    element("td", trial.state.toLowerCase()),
    element("td", new Date(1000 * trial.started).toLocaleString([], { dateStyle: "short", timeStyle: "short" })),
  );
  return row;
}

/** Replace a list only where it changed, so that focus stays. */
function show(parent, key, make) {
  if (parent.dataset.key === key) return;
  const focused = [...parent.querySelectorAll("a")].indexOf(document.activeElement);
  parent.dataset.key = key;
  parent.replaceChildren(...make());
  if (focused >= 0) parent.querySelectorAll("a")[focused]?.focus();
}

let wasEmpty = false;

/** @param {{seat: string, person: string | null, text: string, trial: string | null, time: number}} message */
function messageItem({ seat, person, text, trial, time }) {
  const item = element("li", text);
  const from = [person ?? seat, trial && `trial ${trial}`, new Date(1000 * time).toLocaleTimeString([], { timeStyle: "short" })];
  item.append(element("span", from.filter(Boolean).join(" · ")));
  return item;
}

function refresh({ seats, store, trials, messages, pages, all }) {
  if (!store && all && wasEmpty && seats.length === 1) return location.replace(address(`./?seat=${encodeURIComponent(seats[0].name)}`));
  wasEmpty = seats.length === 0;
  $("store").textContent = store ?? "";
  document.title = `${store ?? "cogment_lab"} · lobby`;
  show($("pages"), JSON.stringify(pages), () => pages.map(({ path, title }) => element("a", title, { href: address(path) })));
  const hint = store ? "No seat yet. Training with this store and teacher=\"web\" puts one here." : "No seat yet: waiting for a training to offer one…";
  show($("seats"), JSON.stringify(seats), () => (seats.length ? seats.map(seatCard) : [element("li", hint, { className: "nothing" })]));
  $("messages-section").hidden = !messages.length;
  show($("messages"), JSON.stringify(messages), () => messages.map(messageItem));
  $("trials-section").hidden = !trials;
  if (!trials) return;
  $("trials-count").textContent = trials.error ?? `${trials.trials.toLocaleString()} in all, ${trials.ticks.toLocaleString()} ticks`;
  $("trials").closest(".card").hidden = trials.newest?.length === 0;
  const isLinked = pages.some(({ path }) => path === "./trials");
  show($("trials"), JSON.stringify(trials.newest), () => trials.newest.map((trial) => trialRow(trial, isLinked)));
}

async function poll() {
  let pause = POLL_MS;
  if (!document.hidden) {
    const answer = await fetch("./api/lobby", { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    if (answer?.status === 401) {
      sayInstead("Ask for a new link", "This one is not, or no longer, valid. The program that runs the trials prints the link when it starts.");
      return;
    }
    say(answer?.ok ? "" : "Nobody answers: the server has ended, or cannot be reached. Trying again…");
    if (answer?.ok) refresh(await answer.json());
    if (wasEmpty) pause = WAITING_POLL_MS;
  }
  setTimeout(poll, pause);
}

poll();
