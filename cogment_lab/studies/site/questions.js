// The questionnaire: answers survive a reload, and what is wrong is said beside its question.

import { button, card, make } from "./dom.js";
import { tab } from "./storage.js";

const DRAFT = "cogment-study-draft";

function readDraft(participant) {
  try {
    const draft = JSON.parse(tab.getItem(DRAFT) ?? "{}");
    return draft.participant === participant ? draft.answers : {};
  } catch {
    return {};
  }
}

/** Forget what was typed: it is with the server now. */
export const clearDraft = () => tab.removeItem(DRAFT);

/**
 * @param {string} participant
 * @param {any[]} questions
 * @param {(answers: object) => Promise<Record<string, string>>} send resolves to what is wrong, by key
 */
export function questionnairePage(participant, questions, send) {
  const answers = readDraft(participant);
  const keep = (key, value) => {
    answers[key] = value;
    tab.setItem(DRAFT, JSON.stringify({ participant, answers }));
    fields.get(key).complain("");
  };
  const fields = new Map(questions.map((question) => [question.key, field(question, answers[question.key], (value) => keep(question.key, value))]));
  const go = button("Send answers", () => finish(), { className: "strong" });

  async function finish() {
    const missing = questions.filter((question) => question.required && !isAnswered(answers[question.key]));
    for (const each of fields.values()) each.complain("");
    go.disabled = true;
    const problems = missing.length ? Object.fromEntries(missing.map(({ key }) => [key, "Please answer this one."])) : await send(answers);
    go.disabled = false;
    const wrong = questions.filter(({ key }) => problems[key]);
    for (const { key } of wrong) fields.get(key).complain(problems[key]);
    if (wrong.length) fields.get(wrong[0].key).focus();
  }

  const some = questions.some((question) => question.required);
  const intro = make("p", { className: "quiet", textContent: some ? "Questions with a * need an answer." : "All of these are optional." });
  return { element: card("Some questions", [intro, ...[...fields.values()].map((each) => each.element)], [go]), close: () => {} };
}

const isAnswered = (value) => value !== undefined && value !== null && String(value).trim() !== "";

function field(question, value, change) {
  const name = `question-${question.key}`;
  const wrong = make("p", { className: "wrong", id: `${name}-wrong`, role: "alert" });
  const title = make("legend", {}, question.text, ...(question.required ? [make("span", { className: "required", title: "needs an answer", textContent: "\u00a0*" })] : []));
  const input = { scale, choice, text }[question.kind](question, name, value, change);
  const element = make("fieldset", { className: "question", "aria-describedby": wrong.id }, title, input, wrong);
  const complain = (told) => {
    wrong.textContent = told;
    element.classList.toggle("is-wrong", Boolean(told));
  };
  return { element, complain, focus: () => element.querySelector("input, textarea").focus() };
}

function radio(name, value, checked, change) {
  const input = make("input", { type: "radio", name, value: String(value), checked });
  input.addEventListener("change", () => change(value));
  return input;
}

function scale({ low, high, low_label: lowLabel, high_label: highLabel }, name, value, change) {
  const numbers = Array.from({ length: high - low + 1 }, (_, index) => low + index);
  const points = numbers.map((number) => make("label", {}, radio(name, number, value === number, change), make("span", { textContent: number })));
  const ends = [make("span", { textContent: lowLabel }), make("span", { textContent: highLabel })];
  return make("div", { className: "scale" }, make("div", { className: "points" }, ...points), make("div", { className: "ends" }, ...ends));
}

function choice({ options }, name, value, change) {
  const labels = options.map((option) => make("label", {}, radio(name, option, value === option, change), make("span", { textContent: option })));
  return make("div", { className: "choices" }, ...labels);
}

function text({ longest, text: asked }, name, value, change) {
  const area = make("textarea", { name, rows: 3, maxLength: longest, value: value ?? "", "aria-label": asked });
  const counter = make("p", { className: "counter quiet", "aria-live": "off" });
  const count = () => { counter.textContent = `${area.value.length} of ${longest}`; };
  area.addEventListener("input", () => {
    change(area.value);
    count();
  });
  count();
  return make("div", { className: "text" }, area, counter);
}
