// One trial: pictures, actions, phases, rewards, and what is said of them.
import { Labelling } from "./labelling.js";
import { $, all, element, get, getBlob, getClip, paint } from "./lookback.js";
import { drawBands, drawCurve, drawFeedback, moveCursor, tickAt } from "./plots.js";

const POLL_MS = 300;
const MOST_SLICES = 6;
const SMALL = 200; // pixels: narrower pictures are shown with their pixels
const LEAST_DRAG = 4; // pixels: less is a click
const PLOTS = ["bands", "return-plot", "reward-plot", "feedback-plot"];

let trial = null; // what the server says of it, ticks from trial.from on
let film = null; // { ticks, slice }
let at = 0; // index into trial.ticks
let sums = [];
let said = new Map(); // tick -> what was said of it
const slices = new Map(); // number of the slice -> promise of its clip
let [asked, painted] = [0, 0]; // pictures, in the order in which they were asked for
let playing = false;
let lastStep = 0;

const row = () => Math.max(0, Math.min(at, trial.ticks.length - 1));
const labelling = new Labelling(() => trial, () => trial && drawPhases(), (tick) => go(trial.ticks.findIndex((each) => each >= tick)));

async function load(id, start = 0, agent = "") {
  trial = await get("trial", { trial: id, start, agent });
  at = 0;
  let sum = trial.return_before;
  sums = trial.rewards.map((reward) => (sum += reward ?? 0));
  said = new Map();
  for (const { tick, value, source } of trial.feedback) said.set(tick, [...(said.get(tick) ?? []), `${value} (${source})`]);
  $("scrub").max = String(Math.max(0, trial.ticks.length - 1));
  const isWhole = trial.from === 0 && trial.ticks.length === trial.recorded_ticks;
  $("last").textContent = String(isWhole ? (trial.ticks.at(-1) ?? "–") : trial.n_ticks - 1);
  $("windows").hidden = isWhole;
  $("earlier").disabled = trial.from === 0;
  $("later").disabled = trial.from + trial.ticks.length >= trial.recorded_ticks;
  draw();
  show();
}

const cursor = () => moveCursor(PLOTS.map((id) => $(id)), row(), trial.ticks.length);

function drawPhases() {
  const chosen = labelling.selection();
  const isAll = chosen?.start === 0 && chosen.stop === trial.n_ticks;
  drawBands($("bands"), trial, labelling.labels, isAll ? null : chosen);
  cursor();
}

function draw() {
  $("return-range").textContent = drawCurve($("return-plot"), sums);
  $("reward-range").textContent = drawCurve($("reward-plot"), trial.rewards.map((reward) => reward ?? 0));
  drawFeedback($("feedback-plot"), trial);
  const count = trial.feedback.length;
  for (const id of ["feedback-legend", "feedback-plot"]) $(id).toggleAttribute("hidden", count === 0);
  $("feedback-count").textContent = `${count} ${count === 1 ? "time" : "times"}`;
  drawPhases();
}

function show() {
  if (!trial.ticks.length) {
    $("screen-note").textContent = "No tick of this trial was recorded.";
    return;
  }
  const index = row();
  const tick = trial.ticks[index];
  $("scrub").value = String(index);
  $("scrub").setAttribute("aria-valuetext", `tick ${tick}`);
  const values = {
    tick, executed: trial.executed[index], proposed: trial.proposed[index] ?? trial.executed[index], decided: trial.decided_by[index],
    "phase-now": trial.phase[index].toLowerCase(), reward: trial.rewards[index]?.toFixed(3) ?? "–", return: sums[index].toFixed(2), said: said.get(tick)?.join(", ") ?? "–",
  };
  for (const [id, value] of Object.entries(values)) {
    $(id).textContent = String(value);
    $(id).title = String(value);
  }
  $("said").hidden = $("said-name").hidden = trial.feedback.length === 0;
  $("executed").dataset.phase = $("phase-now").dataset.phase = trial.phase[index].toLowerCase();
  cursor();
  picture(tick);
}

/** Paint the newest picture at or before a tick; slices are fetched as they are needed. */
async function picture(tick) {
  if (!film) return;
  let low = 0;
  for (let high = film.ticks.length; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if (film.ticks[middle] <= tick) low = middle; else high = middle;
  }
  const number = Math.floor(low / film.slice);
  if (!slices.has(number)) {
    const start = number * film.slice;
    const clip = getClip("trial/frames", { trial: trial.trial_id, agent: trial.agent, start, stop: start + film.slice });
    slices.set(number, clip);
    clip.catch(() => slices.delete(number));
    if (slices.size > MOST_SLICES) dropSlice(slices.keys().next().value);
  }
  const mine = ++asked;
  const bitmap = await slices.get(number).then((clip) => clip.picture(low - number * film.slice)).catch(() => null);
  if (!bitmap || mine < painted) return; // a newer one was faster
  painted = mine;
  $("frame").classList.toggle("small", bitmap.width < SMALL);
  paint($("frame"), bitmap);
}

function dropSlice(number) {
  slices.get(number)?.then((clip) => clip.close(), () => {});
  slices.delete(number);
}

async function develop() {
  if (!trial.ticks.length) return;
  const which = { trial: trial.trial_id, agent: trial.agent };
  $("screen-note").textContent = "Loading pictures…";
  let state = await get("trial/film", { ...which, develop: true });
  while (state.state === "working") {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    state = await get("trial/film", which);
  }
  if (state.state !== "ready") {
    $("screen-note").textContent = state.error ?? "There are no pictures of this trial.";
    return;
  }
  film = state;
  $("screen-note").textContent = "";
  const differs = state.divergence ? ` From here on it differs from what was recorded: ${state.divergence}` : " It agrees with the record, tick by tick.";
  const sources = { stored: `Pictures as they were recorded.${state.why ? ` Some ticks have none: ${state.why}` : ""}`, "re-executed": `Rendered again from seed and actions.${differs}`, drawn: `Observations as curves: ${state.why}` };
  $("source").textContent = sources[state.source];
  for (const button of all("[data-as]")) button.disabled = false;
  show();
}

async function save(button) {
  const as = button.dataset.as;
  const kinds = { json: "json", minari: "zip", mp4: "mp4", webp: "webp" };
  button.disabled = true;
  $("saving").textContent = "Making the file…";
  const blob = await getBlob("trial/download", { trial: trial.trial_id, agent: trial.agent, as }).catch(() => null);
  button.disabled = false;
  $("saving").textContent = "";
  if (!blob) return;
  const link = element("a", "", { href: URL.createObjectURL(blob), download: `${trial.trial_id.replace(/[^\w-]+/g, "_")}.${kinds[as]}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function go(index) {
  at = Math.max(0, Math.min(index, trial.ticks.length - 1));
  show();
}

function play(on = !playing) {
  playing = on;
  if (playing && at >= trial.ticks.length - 1) at = 0;
  lastStep = performance.now();
  $("play").setAttribute("aria-pressed", String(playing));
  $("play-word").textContent = playing ? "pause" : "play";
}

function run(now) {
  requestAnimationFrame(run);
  if (!playing) return;
  const perSecond = (trial.fps || 30) * Number($("speed").value);
  const steps = Math.floor(((now - lastStep) / 1000) * perSecond);
  if (steps < 1) return;
  lastStep += (1000 * steps) / perSecond;
  go(at + steps);
  if (at >= trial.ticks.length - 1) play(false);
}

/** Put one end of the chosen ticks here; the other goes along where it must. */
function mark(id) {
  const here = trial.ticks[row()];
  const chosen = labelling.selection();
  if (id === "from") labelling.choose(here, chosen && chosen.stop > here ? chosen.stop - 1 : here);
  else labelling.choose(chosen && chosen.start <= here ? chosen.start : here, here);
}

const KEYS = {
  " ": () => play(), ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), PageUp: () => go(at - 25), PageDown: () => go(at + 25),
  Home: () => go(0), End: () => go(Infinity), i: () => mark("from"), o: () => mark("to"),
};

function onKey(event) {
  const isFree = event.target.id === "scrub" || !event.target.closest("input, select, a, button");
  const act = KEYS[event.key];
  if (!act || !isFree || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}

/** A click goes to a tick; a drag over the phases chooses ticks. */
function watchPlot(svg, canChoose) {
  let from = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = event.clientX;
    svg.setPointerCapture(event.pointerId);
    go(tickAt(event, svg, trial.ticks.length));
    svg.dataset.first = String(row());
  });
  svg.addEventListener("pointermove", (event) => {
    if (from === null) return;
    go(tickAt(event, svg, trial.ticks.length));
    if (canChoose && !labelling.old && Math.abs(event.clientX - from) >= LEAST_DRAG) labelling.choose(trial.ticks[Number(svg.dataset.first)], trial.ticks[row()]);
  });
  for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => { from = null; });
}

/** Show another agent's actions, rewards and labels; the pictures are its own as well. */
async function changeAgent(id) {
  await load(id, trial.from, $("agent").value);
  film = null;
  for (const number of [...slices.keys()]) dropSlice(number);
  $("source").textContent = "";
  draw();
  labelling.edit(null);
  await develop();
}

/** Notes, messages and verdicts of those who sat there, each with its tick. */
function listWords() {
  $("words").hidden = trial.said.length === 0;
  $("said-list").replaceChildren(...trial.said.map(({ kind, text, seat, tick }) => {
    const item = element("li", "", { className: kind });
    const words = element("span", text ? `“${text}”` : kind, { className: "grow" });
    words.append(element("small", [text ? kind : "", seat, `tick ${tick}`].filter(Boolean).join(" · "), { className: "quiet" }));
    const show = element("button", "◎", { title: "Show" });
    show.setAttribute("aria-label", `Show tick ${tick}`);
    show.addEventListener("click", () => go(trial.ticks.findIndex((each) => each >= tick)));
    item.append(words, show);
    return item;
  }));
}

/** Show a trial and let it be labelled. */
export async function openTrial(id) {
  await load(id);
  document.title = `${trial.env_id} · ${id}`;
  $("name").textContent = `${trial.env_id} · ${id}`;
  const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
  const facts = [trial.state.toLowerCase(), trial.end_reason, count(trial.n_ticks, "tick"), `return ${trial.total_reward?.toFixed(1) ?? "–"}`, count(trial.n_takeovers, "takeover"), trial.seed === null ? "" : `seed ${trial.seed}`, trial.person];
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  $("from").value = "0";
  $("to").value = String(Math.max(0, trial.n_ticks - 1));
  $("scrub").addEventListener("input", () => go(Number($("scrub").value)));
  for (const name of PLOTS) watchPlot($(name), name === "bands");
  $("play").addEventListener("click", () => play());
  $("back").addEventListener("click", () => go(at - 1));
  $("forth").addEventListener("click", () => go(at + 1));
  $("mark-from").addEventListener("click", () => mark("from"));
  $("mark-to").addEventListener("click", () => mark("to"));
  $("earlier").addEventListener("click", () => load(id, Math.max(0, trial.from - 5000), trial.agent));
  $("later").addEventListener("click", () => load(id, trial.from + trial.ticks.length, trial.agent));
  $("agent-label").hidden = trial.agents.length < 2;
  $("agent").replaceChildren(...trial.agents.map((agent) => element("option", agent)));
  $("agent").value = trial.agent;
  $("agent").addEventListener("change", () => changeAgent(id).catch((error) => console.warn(error.message)));
  for (const button of all("[data-as]")) button.addEventListener("click", () => save(button));
  addEventListener("keydown", onKey);
  requestAnimationFrame(run);
  listWords();
  labelling.ask();
  await labelling.load();
  await develop();
}
