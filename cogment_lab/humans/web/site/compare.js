// Two clips side by side, in step, and one question.
import { $, all, element, get, getClip, paint, post, say, setUpHeader } from "./lookback.js";

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equal", "?": "unsure", "/": "unsure", 1: "left", 2: "right", 0: "equal" };
const AGAIN_MS = 5000;
const HOLD_MS = 500; // the last picture stays a moment before the clips begin again

let shown = null; // { id, left: Clip, right: Clip, ... }
const asked = { left: -1, right: -1 }; // which picture of each clip is asked for
let started = 0;
let begun = 0;
let paused = 0;
let busy = false;

const person = () => $("person").value.trim();
const queue = () => $("queue").value;

function enable(on) {
  for (const button of all("[data-choice]")) button.disabled = !on;
}

function progress({ mine, left }) {
  const total = mine + left;
  $("bar").setAttribute("aria-valuemax", String(total));
  $("bar").setAttribute("aria-valuenow", String(mine));
  $("bar").style.width = `${total ? (100 * mine) / total : 0}%`;
  $("progress").hidden = total === 0;
  $("undo").hidden = mine === 0;
  return `${mine.toLocaleString()} answered by you, ${left.toLocaleString()} to go`;
}

/** One step at a time: an answer while another is under way would be about clips not seen. */
async function step(work) {
  if (busy) return;
  busy = true;
  enable(false);
  try {
    say("");
    await show(await work());
  } catch (error) {
    enable(shown !== null);
    if (error.status === 409) setTimeout(next, 1500); // expired or answered meanwhile: there are others
    else if (!error.status) setTimeout(next, AGAIN_MS);
  } finally {
    busy = false;
  }
}

/** Show the clips and what can be done with them, or none of it. */
function reveal(on) {
  for (const id of ["clips", "choices", "pause", "again"]) $(id).hidden = !on;
}

async function show({ query, progress: far }) {
  const words = progress(far);
  if (query === null) {
    shown = null;
    reveal(false);
    $("state").textContent = far.mine ? `${words}. Thank you! New clips appear here by themselves.` : "No clips wait for an answer. They appear here by themselves.";
    setTimeout(() => shown === null && next(), AGAIN_MS);
    return;
  }
  const which = { queue: queue(), query: query.id, annotator: person() };
  const [left, right] = await Promise.all(["left", "right"].map((side) => getClip("compare/clip", { ...which, side })));
  for (const clip of [shown?.left, shown?.right]) clip?.close();
  shown = { ...query, left, right };
  Object.assign(asked, { left: -1, right: -1 });
  reveal(true);
  $("state").textContent = words;
  started = begun = performance.now();
  if (paused) paused = begun;
  enable(true);
}

const next = () => {
  if (!queue()) return start();
  if (!person()) {
    $("state").textContent = "Say who you are first: answers are kept with a name.";
    $("person").focus();
    return;
  }
  return step(() => get("compare/next", { queue: queue(), annotator: person() }));
};

function answer(choice) {
  if (!shown || !person()) return next();
  const seconds = (performance.now() - begun) / 1000;
  return step(() => post("compare/answer", { queue: queue(), query: shown.id, choice, annotator: person(), seconds }));
}

const undo = () => person() && step(() => post("compare/undo", { queue: queue(), annotator: person() }));

function pause() {
  const now = performance.now();
  if (paused) started += now - paused;
  paused = paused ? 0 : now;
  $("pause").setAttribute("aria-pressed", String(paused > 0));
  $("pause-word").textContent = paused ? "play" : "pause";
}

function again() {
  started = performance.now();
  if (paused) paused = started;
}

function frame(now) {
  requestAnimationFrame(frame);
  if (!shown) return;
  const elapsed = Math.max(0, (paused || now) - started) / 1000;
  const longest = Math.max(shown.left.length / shown.left_fps, shown.right.length / shown.right_fps);
  if (elapsed > longest + HOLD_MS / 1000) started = now;
  for (const side of ["left", "right"]) {
    const at = Math.min(shown[side].length - 1, Math.floor(elapsed * shown[`${side}_fps`]));
    if (at === asked[side]) continue;
    asked[side] = at;
    const clip = shown[side];
    clip.picture(at).then((bitmap) => shown?.[side] === clip && paint($(`${side}-clip`), bitmap), () => {});
  }
}

/** @param {Event} event @param {string} selector */
const within = (event, selector) => /** @type {Element} */ (event.target).closest(selector);

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || within(event, "input, select")) return;
  const act = KEYS[event.key] ? () => answer(KEYS[event.key]) : { u: undo, r: again, " ": within(event, "button") ? null : pause }[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
for (const button of all("[data-choice]")) button.addEventListener("click", () => answer(button.dataset.choice));
for (const side of ["left", "right"]) $(`${side}-clip`).addEventListener("click", () => answer(side));
$("undo").addEventListener("click", undo);
$("pause").addEventListener("click", pause);
$("again").addEventListener("click", again);
$("queue").addEventListener("change", () => { shown = null; next(); });
$("person").addEventListener("change", () => { shown = null; $("person").blur(); next(); });

async function start() {
  try {
    const { queues } = await get("compare/queues");
    $("queue").replaceChildren(...queues.map(({ name, open }) => element("option", `${name} (${open})`, { value: name })));
    $("about").hidden = queues.length === 0;
    if (queues.length) return next();
    $("state").textContent = "Nobody has asked for a comparison yet. A training does so by PreferenceQueue(store, name).ask(...).";
  } catch (error) {
    if (error.status === 401) return;
  }
  setTimeout(start, AGAIN_MS);
}

setUpHeader();
requestAnimationFrame(frame);
start();
