// The trials page: the list, or one trial where the address names one.
import { address } from "./entry.js";
import { $, element, get, say, setUpHeader } from "./lookback.js";
import { tab } from "./storage.js";
import { openTrial } from "./trial.js";

const COLUMNS = [
  ["trial_id", "trial"], ["env_id", "environment"], ["person", "person"], ["n_ticks", "ticks"], ["total_reward", "return"], ["helped", "helped"], ["labels", "labels"], ["verdict", "verdict"], ["state", "state"], ["started", "started"],
];
const UNSORTED = new Set(["verdict", "state"]);
const NUMBERS = new Set(["n_ticks", "total_reward", "helped", "labels"]);
const FILTERS = ["search", "env", "state", "verdict", "labelled"];
const STANDARD = { search: "", env: "", state: "", verdict: "", labelled: "", sort: "started", down: true, page: 0 };
const LIST = "cogment-trials"; // the address of the list and its trials, for the way back and on to the next one
const asked = { ...STANDARD };
let newest = 0;

/** Read the filter from the address, which may have been kept or sent to somebody. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  for (const name of [...FILTERS, "sort"]) asked[name] = query.get(name) ?? STANDARD[name];
  asked.down = query.get("down") !== "false";
  asked.page = Number(query.get("page") ?? 0) || 0;
  if (!COLUMNS.some(([key]) => key === asked.sort && !UNSORTED.has(key))) asked.sort = STANDARD.sort;
  for (const name of FILTERS) if (name !== "env") $(name).value = asked[name];
}

/** Keep the filter in the address; return it as its query. */
function writeAddress() {
  const changed = Object.entries(asked).filter(([name, value]) => value !== STANDARD[name]).map(([name, value]) => [name, String(value)]);
  const query = changed.length ? `?${new URLSearchParams(changed)}` : "";
  history.replaceState(null, "", address(`${location.pathname}${query}`));
  $("reset").hidden = !FILTERS.some((name) => asked[name]);
  return query;
}

function sort(key) {
  Object.assign(asked, { down: asked.sort === key ? !asked.down : true, sort: key, page: 0 });
  return refresh();
}

function heads() {
  return COLUMNS.map(([key, title]) => {
    const head = element("th", "", { scope: "col", className: `of-${key}${NUMBERS.has(key) ? " number" : ""}` });
    if (UNSORTED.has(key)) {
      head.classList.add("unsorted");
      head.textContent = title;
      return head;
    }
    const isSorted = asked.sort === key;
    if (isSorted) head.setAttribute("aria-sort", asked.down ? "descending" : "ascending");
    const button = element("button", `${title}${isSorted ? (asked.down ? " ▼" : " ▲") : ""}`);
    button.addEventListener("click", async () => {
      await sort(key);
      $("heads").querySelector(`.of-${key} button`)?.focus();
    });
    head.append(button);
    return head;
  });
}

function row(trial) {
  const made = element("tr");
  const link = element("a", trial.trial_id, { href: address(`./trials?trial=${encodeURIComponent(trial.trial_id)}`) });
  const helped = trial.n_interventions ? `${Math.max(1, Math.round((100 * trial.n_interventions) / trial.n_ticks))} %` : "–";
  const started = new Date(1000 * trial.started);
  const cells = {
    trial_id: link, env_id: trial.env_id, person: trial.person, n_ticks: trial.n_ticks.toLocaleString(), total_reward: trial.total_reward?.toFixed(1) ?? "–", helped,
    labels: trial.labels || "–", verdict: trial.properties.verdict ?? "", state: trial.state.toLowerCase(), started: started.toLocaleString([], { dateStyle: "short", timeStyle: "medium" }),
  };
  for (const [key] of COLUMNS) {
    const cell = element("td", "", { className: `of-${key}${NUMBERS.has(key) ? " number" : ""}` });
    cell.append(cells[key]);
    if (cells[key] === "–") cell.classList.add("quiet");
    if (key === "trial_id") cell.append(element("small", trial.env_id, { className: "narrow quiet" }));
    made.append(cell);
  }
  return made;
}

async function refresh() {
  const mine = ++newest;
  const found = await get("trials", asked);
  if (mine !== newest) return; // the filter has changed since
  if (found.page >= found.pages && found.page > 0) return set({ page: 0 }); // trials were deleted
  say("");
  tab.setItem(LIST, JSON.stringify({ query: writeAddress(), ids: found.ids }));
  $("heads").replaceChildren(...heads());
  $("rows").replaceChildren(...found.trials.map(row));
  $("nothing").hidden = found.trials.length > 0;
  $("nothing").textContent = found.stored ? "No trial fits." : "No trial was recorded yet.";
  const of = found.searched < found.stored ? ` of the newest ${found.searched.toLocaleString()}` : found.total < found.stored ? ` of ${found.stored.toLocaleString()}` : "";
  $("count").textContent = `${found.total.toLocaleString()}${of} ${found.total === 1 && !of ? "trial" : "trials"}`;
  $("page").textContent = found.pages > 1 ? `page ${found.page + 1} of ${found.pages}` : "";
  $("newer").parentElement.hidden = found.pages < 2;
  $("newer").disabled = found.page === 0;
  $("older").disabled = found.page + 1 >= found.pages;
  $("sort").value = asked.sort;
  const envs = found.envs.includes(asked.env) || !asked.env ? found.envs : [...found.envs, asked.env];
  if ($("env").options.length !== envs.length + 1) $("env").replaceChildren(element("option", "any", { value: "" }), ...envs.map((env) => element("option", env, { value: env })));
  $("env").value = asked.env;
}

const again = () => refresh().catch((error) => console.warn(error.message));

function set(change) {
  Object.assign(asked, { page: 0 }, change);
  again();
}

function showList() {
  $("list").hidden = false;
  readAddress();
  $("sort").replaceChildren(...COLUMNS.filter(([key]) => !UNSORTED.has(key)).map(([value, title]) => element("option", title, { value })));
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", () => set({ search: $("search").value.slice(0, 200) }));
  for (const name of FILTERS.slice(1)) $(name).addEventListener("change", () => set({ [name]: $(name).value }));
  $("sort").addEventListener("change", () => set({ sort: $("sort").value, down: true }));
  $("reset").addEventListener("click", () => {
    for (const name of FILTERS) $(name).value = "";
    set(Object.fromEntries(FILTERS.map((name) => [name, ""])));
    $("search").focus();
  });
  $("newer").addEventListener("click", () => set({ page: asked.page - 1 }));
  $("older").addEventListener("click", () => set({ page: asked.page + 1 }));
  again();
}

/** The way back to the list as it was, and to the trials beside this one in it. */
function showNeighbours(trial) {
  const { query = "", ids = [] } = JSON.parse(tab.getItem(LIST) ?? "{}");
  $("home").href = address(`./trials${query}`);
  const here = ids.indexOf(trial);
  if (here < 0) return;
  $("neighbours").hidden = false;
  for (const [id, key, other] of [["previous", "k", ids[here - 1]], ["next", "j", ids[here + 1]]]) {
    if (!other) continue;
    $(id).href = address(`./trials?trial=${encodeURIComponent(other)}`);
    addEventListener("keydown", (event) => {
      const isTyping = /** @type {Element} */ (event.target).closest("input, select, textarea");
      if (event.key === key && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) location.assign($(id).href);
    });
  }
}

setUpHeader();
const trial = new URLSearchParams(location.search).get("trial");
if (trial) {
  $("trial").hidden = false;
  showNeighbours(trial);
  openTrial(trial).catch((error) => {
    $("trial").hidden = true;
    console.warn(error.message);
  });
} else {
  showList();
}
