// One trial: pictures, actions, phases, rewards, labels.
import { $, all, element, get, getBlob, getFilm, paint, post, say } from "./lookback.js";
import { drawBands, drawPlot, moveCursor, tickAt } from "./plots.js";

const POLL_MS = 300;
const MOST_SLICES = 6;

let trial = null; // what the server says of it, ticks from trial.from on
let film = null; // { ticks, slice }
let labels = [];
let at = 0; // index into trial.ticks
let sums = [];
const slices = new Map(); // number of the slice -> promise of its pictures
let playing = false;
let lastStep = 0;

const row = () => Math.max(0, Math.min(at, trial.ticks.length - 1));

async function load(id, start = 0, agent = "") {
  trial = await get("trial", { trial: id, start, agent });
  at = 0;
  let sum = 0;
  sums = trial.rewards.map((reward) => (sum += reward ?? 0));
  $("scrub").max = String(Math.max(0, trial.ticks.length - 1));
  const isWhole = trial.from === 0 && trial.ticks.length === trial.recorded_ticks;
  $("windows").hidden = isWhole;
  $("earlier").disabled = trial.from === 0;
  $("later").disabled = trial.from + trial.ticks.length >= trial.recorded_ticks;
  draw();
  show();
}

function draw() {
  drawBands($("bands"), trial, labels, selection());
  drawPlot($("plot"), trial);
  moveCursor([$("bands"), $("plot")], row(), trial.ticks.length);
}

function show() {
  if (!trial.ticks.length) return;
  const index = row();
  const tick = trial.ticks[index];
  $("scrub").value = String(index);
  $("scrub").setAttribute("aria-valuetext", `tick ${tick}`);
  const values = {
    tick, executed: trial.executed[index], proposed: trial.proposed[index] ?? trial.executed[index], decided: trial.decided_by[index],
    "phase-now": trial.phase[index].toLowerCase(), reward: (trial.rewards[index] ?? NaN).toFixed(3), return: sums[index].toFixed(2),
  };
  for (const [id, value] of Object.entries(values)) {
    $(id).textContent = String(value);
    $(id).title = String(value);
  }
  moveCursor([$("bands"), $("plot")], index, trial.ticks.length);
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
    const pictures = getFilm("trial/frames", { trial: trial.trial_id, agent: trial.agent, start, stop: start + film.slice });
    slices.set(number, pictures);
    pictures.catch(() => slices.delete(number));
    if (slices.size > MOST_SLICES) {
      const [oldest, old] = slices.entries().next().value;
      slices.delete(oldest);
      old.then((bitmaps) => bitmaps.forEach((bitmap) => bitmap.close()), () => {});
    }
  }
  const bitmaps = await slices.get(number).catch(() => null);
  if (bitmaps && trial.ticks[row()] === tick) paint($("frame"), bitmaps[low - number * film.slice]);
}

async function develop() {
  const asked = { trial: trial.trial_id, agent: trial.agent };
  $("screen-note").textContent = "Loading pictures…";
  let state = await get("trial/film", { ...asked, develop: true });
  while (state.state === "working") {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    state = await get("trial/film", asked);
  }
  if (state.state !== "ready") {
    $("screen-note").textContent = state.error ?? "There are no pictures of this trial.";
    return;
  }
  film = state;
  $("screen-note").textContent = "";
  const differs = state.divergence ? ` From here on it differs from what was recorded: ${state.divergence}` : " It agrees with the record, tick by tick.";
  const sources = { stored: "Pictures as they were recorded.", "re-executed": `Rendered again from seed and actions.${differs}`, drawn: `Observations as curves: ${state.why}` };
  $("source").textContent = sources[state.source];
  for (const button of all("[data-as]")) button.disabled = false;
  show();
}

function selection() {
  const [from, to] = [$("from").valueAsNumber, $("to").valueAsNumber];
  return from <= to ? { start: from, stop: to + 1 } : null;
}

function listLabels({ labels: found, agreement }) {
  labels = found;
  $("labels").replaceChildren(...found.map((label) => {
    const item = element("li");
    const value = label.kind === "note" ? `“${label.value}”` : `${label.kind} ${JSON.stringify(label.value)}`;
    const text = element("span", value, { className: "grow" });
    text.append(element("span", ` · ${label.start} to ${label.stop - 1} · ${label.annotator || "nobody named"}`, { className: "quiet" }));
    const jump = element("button", "show");
    jump.addEventListener("click", () => go(trial.ticks.findIndex((tick) => tick >= label.start)));
    const back = element("button", "✕", { title: "Withdraw; it stays in the history" });
    back.setAttribute("aria-label", `Withdraw ${value}`);
    back.addEventListener("click", () => change("labels/withdraw", { label: label.label_id, version: label.version, annotator: $("person").value.trim() }));
    item.append(text, jump, back);
    return item;
  }));
  const parts = Object.entries(agreement).map(([kind, { alpha, ticks, people }]) => `${kind}: α = ${alpha === null ? "undefined (all the same)" : alpha.toFixed(2)} (${people} people, ${ticks} ticks)`);
  $("agreement").textContent = parts.length ? `Agreement (Krippendorff): ${parts.join("; ")}` : "";
  draw();
}

async function change(path, content) {
  try {
    say("");
    listLabels(await post(path, content));
    return true;
  } catch (error) {
    if (error.status === 409) listLabels(await get("labels", { trial: trial.trial_id }));
    return false;
  }
}

function valueOf(kind, text) {
  if (kind === "note") return text;
  if (kind === "success" || kind === "discard") return !/^(no|false|0)$/i.test(text);
  if (kind === "rating") return Number(text);
  return JSON.parse(text);
}

async function submit(event) {
  event.preventDefault();
  const range = selection();
  if (!range) return say("The range ends before it begins.");
  let value;
  try {
    value = valueOf($("kind").value, $("value").value.trim());
  } catch {
    return say("A correction is an action: a number, or numbers like [0.5, -1].");
  }
  const content = { trial: trial.trial_id, agent: trial.agent, kind: $("kind").value, value, annotator: $("person").value.trim(), ...range };
  if (await change("labels", content)) $("value").value = "";
}

async function save(as) {
  const kinds = { json: "json", minari: "zip", mp4: "mp4", webp: "webp" };
  const blob = await getBlob("trial/download", { trial: trial.trial_id, agent: trial.agent, as }).catch(() => null);
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

function mark(id) {
  $(id).value = String(trial.ticks[row()]);
  draw();
}

const KEYS = {
  " ": () => play(), ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), PageUp: () => go(at - 25), PageDown: () => go(at + 25),
  Home: () => go(0), End: () => go(Infinity), i: () => mark("from"), o: () => mark("to"),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, button, a")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

const HINTS = { rating: "0.5", note: "what you saw", correction: "action", success: "yes or no", discard: "yes or no" };
/** Show another agent's actions, rewards and labels; the pictures are its own as well. */
async function changeAgent(id) {
  await load(id, trial.from, $("agent").value);
  film = null;
  slices.clear();
  $("source").textContent = "";
  draw();
  hint();
  await develop();
}

function hint() {
  const kind = $("kind").value;
  $("value").placeholder = HINTS[kind];
  $("space").textContent = kind === "correction" ? `The action that would have been right: ${trial.action_space}` : "";
}

/** Show a trial and let it be labelled. */
export async function openTrial(id) {
  await load(id);
  document.title = `${trial.env_id} · ${id}`;
  $("name").textContent = `${trial.env_id} · ${id}`;
  const facts = [trial.state.toLowerCase(), trial.end_reason, `${trial.n_ticks} ticks`, `return ${trial.total_reward?.toFixed(1) ?? "–"}`, `${trial.n_takeovers} takeovers`, trial.seed === null ? "" : `seed ${trial.seed}`, trial.user_id];
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  $("from").value = "0";
  $("to").value = String(Math.max(0, trial.n_ticks - 1));
  for (const name of ["from", "to"]) $(name).addEventListener("input", draw);
  $("scrub").addEventListener("input", () => go(Number($("scrub").value)));
  for (const name of ["bands", "plot"]) $(name).addEventListener("click", (event) => go(tickAt(event, trial.ticks.length)));
  $("play").addEventListener("click", () => play());
  $("mark-from").addEventListener("click", () => mark("from"));
  $("mark-to").addEventListener("click", () => mark("to"));
  $("kind").addEventListener("change", hint);
  $("label-form").addEventListener("submit", submit);
  $("earlier").addEventListener("click", () => load(id, Math.max(0, trial.from - 5000), trial.agent));
  $("later").addEventListener("click", () => load(id, trial.from + trial.ticks.length, trial.agent));
  $("agent-label").hidden = trial.agents.length < 2;
  $("agent").replaceChildren(...trial.agents.map((agent) => element("option", agent)));
  $("agent").value = trial.agent;
  $("agent").addEventListener("change", () => changeAgent(id).catch((error) => console.warn(error.message)));
  for (const button of all("[data-as]")) button.addEventListener("click", () => save(button.dataset.as));
  addEventListener("keydown", onKey);
  requestAnimationFrame(run);
  hint();
  listLabels(await get("labels", { trial: id }));
  await develop();
}
