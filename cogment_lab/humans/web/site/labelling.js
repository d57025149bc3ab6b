// Labels of a stretch of ticks: the form, the list, and what people agree in.
import { $, element, get, post, say } from "./lookback.js";

const HINTS = { rating: "-1 (bad) to 1 (good)", note: "what you saw", correction: "action, such as [0.5, -1]" };
const FLAGS = [["true", "yes"], ["false", "no"]];

/** The labels of one trial. */
export class Labelling {
  /**
   * @param {() => any} trial what is shown
   * @param {() => void} changed the labels or the chosen ticks are others
   * @param {(tick: number) => void} show go to a tick
   */
  constructor(trial, changed, show) {
    this.trial = trial;
    this.changed = changed;
    this.show = show;
    this.labels = [];
    this.old = null; // the label that is being changed
    for (const name of ["from", "to"]) $(name).addEventListener("input", changed);
    $("kind").addEventListener("change", () => this.ask());
    $("label-form").addEventListener("submit", (event) => this.submit(event));
    $("cancel").addEventListener("click", () => this.edit(null));
  }

  /** The ticks that are chosen, null where there are none. */
  selection() {
    const [from, to] = [$("from").valueAsNumber, $("to").valueAsNumber];
    return from <= to ? { start: from, stop: to + 1 } : null;
  }

  /** @param {number} from @param {number} to ticks, in any order */
  choose(from, to) {
    $("from").value = String(Math.min(from, to));
    $("to").value = String(Math.max(from, to));
    this.changed();
  }

  async load() {
    this.list(await get("labels", { trial: this.trial().trial_id }));
  }

  /** Show the field, or the choices, of the kind of label that is to be set. */
  ask(value = null) {
    const kind = $("kind").value;
    const { actions, action_space: space } = this.trial();
    const options = kind === "success" || kind === "discard" ? FLAGS : kind === "correction" ? actions : [];
    $("choice").hidden = !options.length;
    $("value").hidden = Boolean(options.length);
    $("value").required = !options.length;
    $("choice").replaceChildren(...options.map(([each, word]) => element("option", word, { value: String(each) })));
    $("value").placeholder = HINTS[kind] ?? "";
    $("space").textContent = kind === "correction" ? `The action that would have been right${options.length ? "." : `: ${space}`}` : "";
    if (value !== null) $(options.length ? "choice" : "value").value = typeof value === "string" ? value : JSON.stringify(value);
  }

  /** What the form says. @throws {SyntaxError} it is no action */
  value() {
    const kind = $("kind").value;
    const text = $("choice").hidden ? $("value").value.trim() : $("choice").value;
    if (kind === "note") return text;
    return kind === "rating" ? Number(text) : JSON.parse(text);
  }

  async submit(event) {
    event.preventDefault();
    const range = this.selection();
    if (!range) return say("The range ends before it begins.");
    let value;
    try {
      value = this.value();
    } catch {
      return say("A correction is an action: a number, or numbers like [0.5, -1].");
    }
    const [{ trial_id: trial, agent }, annotator] = [this.trial(), $("person").value.trim()];
    const content = this.old ? { label: this.old.label_id, version: this.old.version, value, annotator } : { trial, agent, kind: $("kind").value, value, annotator, ...range };
    if (!(await this.send(this.old ? "labels/change" : "labels", content))) return undefined;
    $("value").value = "";
    return this.edit(null);
  }

  async send(path, content) {
    try {
      say("");
      this.list(await post(path, content));
      return true;
    } catch (error) {
      if (error.status === 409) await this.load(); // somebody was faster
      return false;
    }
  }

  /** Change a label that is there, or none. */
  edit(label) {
    this.old = label;
    for (const name of ["from", "to", "kind", "mark-from", "mark-to"]) $(name).disabled = Boolean(label);
    $("cancel").hidden = !label;
    $("set-label").textContent = label ? "Change" : "Label";
    if (!label) return this.ask();
    $("kind").value = label.kind;
    this.choose(label.start, label.stop - 1);
    this.ask(label.value);
    return $($("choice").hidden ? "value" : "choice").focus();
  }

  list({ labels, agreement }) {
    this.labels = labels;
    if (this.old && !labels.some(({ label_id: id }) => id === this.old.label_id)) this.edit(null);
    $("labels").replaceChildren(...labels.map((label) => this.item(label)));
    const parts = Object.entries(agreement).map(([kind, { alpha, ticks, people }]) => `${kind}: α = ${alpha === null ? "undefined (all the same)" : alpha.toFixed(2)} (${people} people, ${ticks} ticks)`);
    $("agreement").textContent = parts.length ? `Agreement (Krippendorff): ${parts.join("; ")}` : "";
    this.changed();
  }

  item(label) {
    const { label_id: id, version, kind, value, annotator, agent, start, stop } = label;
    const words = this.word(kind, value);
    const text = element("span", "", { className: "grow" });
    const ticks = start === stop - 1 ? `tick ${start}` : `ticks ${start} to ${stop - 1}`;
    const about = [annotator || "nobody named", this.trial().agents.length > 1 ? agent : "", ticks, version > 1 ? "changed" : ""];
    text.append(element("span", words), element("small", about.filter(Boolean).join(" · "), { className: "quiet" }));
    const act = (word, sign, work) => {
      const button = element("button", sign, { title: word });
      button.setAttribute("aria-label", `${word}: ${words}`);
      button.addEventListener("click", work);
      return button;
    };
    const item = element("li");
    item.append(
      text,
      act("Show", "◎", () => this.show(start)),
      act("Change", "✎", () => this.edit(label)),
      act("Withdraw; it stays in the history", "✕", () => this.send("labels/withdraw", { label: id, version, annotator: $("person").value.trim() })),
    );
    return item;
  }

  word(kind, value) {
    if (kind === "note") return `“${value}”`;
    if (kind === "success" || kind === "discard") return `${kind}: ${value ? "yes" : "no"}`;
    const action = kind === "correction" ? this.trial().actions.find(([each]) => each === value)?.[1] : null;
    return `${kind} ${action ?? JSON.stringify(value)}`;
  }
}
