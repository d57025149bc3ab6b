// The trials page: the list, or one trial where the address names one.
import { $, element, get, say, setUpHeader } from "./lookback.js";
import { openTrial } from "./trial.js";

const COLUMNS = [
  ["trial_id", "trial"], ["env_id", "environment"], ["n_ticks", "ticks"], ["total_reward", "return"], ["helped", "helped"], ["verdict", "verdict"], ["state", "state"], ["started", "started"],
];
const UNSORTED = new Set(["verdict", "state"]);
const NUMBERS = new Set(["n_ticks", "total_reward", "helped"]);
const asked = { search: "", env: "", state: "", verdict: "", sort: "started", down: true, page: 0 };
let newest = 0;

function heads() {
  return COLUMNS.map(([key, title]) => {
    const head = element("th", "", { scope: "col" });
    if (NUMBERS.has(key)) head.className = "number";
    if (UNSORTED.has(key)) return Object.assign(head, { textContent: title, className: "unsorted" });
    const isSorted = asked.sort === key;
    if (isSorted) head.setAttribute("aria-sort", asked.down ? "descending" : "ascending");
    const button = element("button", `${title}${isSorted ? (asked.down ? " ▼" : " ▲") : ""}`);
    button.addEventListener("click", async () => {
      Object.assign(asked, { down: isSorted ? !asked.down : true, sort: key, page: 0 });
      await refresh();
      $("heads").querySelectorAll("button")[COLUMNS.filter(([each]) => !UNSORTED.has(each)).findIndex(([each]) => each === key)]?.focus();
    });
    head.append(button);
    return head;
  });
}

function row(trial) {
  const made = element("tr");
  const first = element("td");
  first.append(element("a", trial.trial_id, { href: `./trials?trial=${encodeURIComponent(trial.trial_id)}` }));
  const helped = trial.n_ticks ? `${Math.round((100 * trial.n_interventions) / trial.n_ticks)} %` : "";
  const number = { className: "number" };
  const when = new Date(1000 * trial.started).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
  made.append(first, element("td", trial.env_id), element("td", trial.n_ticks.toLocaleString(), number), element("td", trial.total_reward?.toFixed(1) ?? "–", number), element("td", helped, number), element("td", trial.properties.verdict ?? ""), element("td", trial.state.toLowerCase()), element("td", when));
  return made;
}

async function refresh() {
  const mine = ++newest;
  const found = await get("trials", asked);
  if (mine !== newest) return; // the filter has changed since
  say("");
  $("heads").replaceChildren(...heads());
  $("rows").replaceChildren(...found.trials.map(row));
  $("nothing").hidden = found.trials.length > 0;
  $("nothing").textContent = found.stored ? "No trial fits." : "No trial was recorded yet.";
  const of = found.searched < found.stored ? ` of the newest ${found.searched.toLocaleString()}` : "";
  $("count").textContent = `${found.total.toLocaleString()} trials${of}`;
  $("page").textContent = found.pages > 1 ? `page ${found.page + 1} of ${found.pages}` : "";
  $("newer").parentElement.hidden = found.pages < 2;
  $("newer").disabled = found.page === 0;
  $("older").disabled = found.page + 1 >= found.pages;
  if ($("env").options.length !== found.envs.length + 1) {
    $("env").replaceChildren(element("option", "any", { value: "" }), ...found.envs.map((env) => element("option", env, { value: env })));
    $("env").value = asked.env;
  }
}

const again = () => refresh().catch((error) => console.warn(error.message));

function set(change) {
  Object.assign(asked, { page: 0 }, change);
  again();
}

setUpHeader();
const trial = new URLSearchParams(location.search).get("trial");
if (trial) {
  $("trial").hidden = false;
  openTrial(trial).catch((error) => {
    $("trial").hidden = true;
    console.warn(error.message);
  });
} else {
  $("list").hidden = false;
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", () => set({ search: $("search").value.slice(0, 200) }));
  $("env").addEventListener("change", () => set({ env: $("env").value }));
  for (const name of ["state", "verdict"]) $(name).addEventListener("change", () => set({ [name]: $(name).value }));
  $("newer").addEventListener("click", () => set({ page: asked.page - 1 }));
  $("older").addEventListener("click", () => set({ page: asked.page + 1 }));
  again();
}
