// Controls for any action space: buttons, sliders and a stick, switches, a text box, forms. null leaves a part to the agent.

import { element } from "./view.js";
import { stick } from "./stick.js";

const MOST_BUTTONS = 64;
const MOST_SLIDERS = 24;

/**
 * @typedef {{send: (action: any) => void, hold: () => () => void, keep: () => void, release: () => void, holdable: (element: HTMLElement, down: () => void, up: () => void) => void,
 *            leaves: boolean, waits: () => boolean}} Hands
 * `send` holds an action (null: nothing), `hold` takes control and returns what gives it back, `keep` takes it until `release`; `leaves`: an agent does what is left out.
 */

/**
 * @param {any} controls CONTROLS of the protocol
 * @param {any} keymap KEYMAP of the protocol, or null
 * @param {Hands} hands
 * @returns {{elements: HTMLElement[], axes: (values: number[] | null) => boolean, letGo: () => void}}
 */
export function buildControls(controls, keymap, hands) {
  const none = { elements: [], axes: () => false, letGo: () => {} };
  if (!controls) return none;
  if (controls.kind === "box") return boxControls(controls, keymap, hands);
  if (controls.kind === "discrete") return { ...none, elements: discreteControls(controls, keymap, hands) };
  return formControls(controls, hands);
}

// --- Discrete: a button for what has no key ---

function discreteControls({ n, start, labels }, keymap, hands) {
  const bound = new Set((keymap?.bindings ?? []).map(({ value }) => value));
  if (keymap?.noop) bound.add(keymap.noop.value);
  if (n > MOST_BUTTONS) return [numberBox(start, start + n - 1, hands)];
  const buttons = [];
  for (let action = start; action < start + n; action += 1) {
    if (bound.has(action)) continue;
    const button = element("button", labels[action - start] ?? `action ${action}`);
    button.dataset.action = String(action);
    let giveBack = () => {};
    hands.holdable(
      button,
      () => {
        hands.send(action);
        giveBack = hands.hold();
      },
      () => {
        hands.send(null);
        giveBack();
      },
    );
    buttons.push(button);
  }
  if (!buttons.length) return [];
  const row = element("div", "", { className: "row" });
  row.append(...buttons);
  return [row];
}

function numberBox(low, high, hands) {
  const form = element("form", "", { className: "row" });
  const box = element("input", "", { type: "number", min: String(low), max: String(high), step: "1", required: true });
  box.setAttribute("aria-label", `Action, ${low} to ${high}`);
  form.append(box, element("button", "Act"), ...handBack(hands));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    hands.send(Number(box.value));
    hands.keep();
  });
  return form;
}

/** What was sent goes on until it is handed back: a button for that, where somebody takes it back. */
function handBack(hands) {
  if (!hands.leaves) return [];
  const button = element("button", "Hand back", { type: "button", className: "hand-back" });
  button.addEventListener("click", () => hands.release());
  return [button];
}

// --- Box: sliders, a stick, a gamepad's axes ---

/** Which components the stick's x and y move, and which way, as the arrow keys do. */
function directions({ rest }, keymap) {
  const of = (code, other) => {
    const value = keymap?.bindings.find(({ keys }) => keys.length === 1 && keys[0] === code)?.value;
    const flat = value === undefined ? [] : [value].flat(Infinity);
    const index = flat.findIndex((each, at) => each !== rest[at]);
    return index < 0 ? { index: other < rest.length ? other : -1, sign: 1 } : { index, sign: Math.sign(flat[index] - rest[index]) };
  };
  const x = of("ArrowRight", 0);
  const y = of("ArrowUp", x.index === 0 ? 1 : 0);
  return { x, y: y.index === x.index ? { index: -1, sign: 1 } : y };
}

function boxControls(box, keymap, hands) {
  const { low, high, labels, rest } = box;
  const untouched = () => rest.map((value) => (hands.leaves ? null : value));
  let values = untouched();
  let giveBack = null;
  const rows = [];
  const touched = () => values.some((value, index) => value !== null && (hands.leaves || value !== rest[index]));
  const between = (index, value) => {
    const bounded = Math.min(high[index], Math.max(low[index], value));
    return box.whole ? Math.round(bounded) : bounded;
  };
  const scaled = (index, part) => between(index, part >= 0 ? rest[index] + part * (high[index] - rest[index]) : rest[index] + part * (rest[index] - low[index]));
  const tell = () => {
    hands.send(touched() ? values : null);
    rows.forEach((row, index) => row.show(values[index]));
  };
  const touch = (index, value) => {
    values[index] = value;
    giveBack ??= hands.hold();
    tell();
  };
  const leave = (index) => {
    values[index] = untouched()[index];
    tell();
    if (!touched()) {
      giveBack?.();
      giveBack = null;
    }
  };
  const letGo = () => {
    values = untouched();
    giveBack = null;
    rows.forEach((row, index) => row.show(values[index]));
  };
  for (let index = 0; index < Math.min(low.length, MOST_SLIDERS); index += 1) {
    rows.push(slider(labels[index] ?? `axis ${index}`, low[index], high[index], rest[index], box.whole, hands.leaves, {
      touch: (value) => touch(index, between(index, value)),
      leave: () => leave(index),
    }));
  }
  const { x, y } = directions(box, keymap);
  const moveTo = (parts) => {
    for (const [index, part] of parts) if (index >= 0 && index < values.length) values[index] = part ? scaled(index, part) : untouched()[index];
  };
  const pad = x.index < 0 ? [] : [stick({
    x: labels[x.index],
    y: y.index < 0 ? null : labels[y.index],
    move: (right, up) => {
      moveTo([[x.index, right * x.sign], [y.index, up * y.sign]]);
      giveBack ??= hands.hold();
      tell();
    },
    end: () => {
      leave(x.index);
      if (y.index >= 0) leave(y.index);
    },
  })];
  const others = rest.map((_, index) => index).filter((index) => index !== x.index && index !== y.index);
  const axes = (axisValues) => {
    if (!axisValues) letGo();
    else {
      const [right = 0, down = 0, ...more] = axisValues;
      moveTo([[x.index, right * x.sign], [y.index, -down * y.sign], ...others.map((index, at) => [index, more[at] ?? 0])]);
    }
    hands.send(touched() ? values : null);
    rows.forEach((row, index) => row.show(values[index]));
    return true;
  };
  const list = element("div", "", { className: "sliders" });
  list.append(...rows.map((row) => row.element));
  return { elements: [...pad, list], axes, letGo };
}

/** A slider springs back from a mouse or a finger, and stays where the keyboard put it until it is left. */
function slider(label, low, high, rest, whole, leaves, { touch, leave }) {
  const line = element("label", label);
  const range = element("input", "", { type: "range", min: String(low), max: String(high), step: whole ? "1" : "any" });
  range.value = String(rest);
  const value = element("output", "");
  const free = element("button", "×", { type: "button", className: "small", title: leaves ? "Leave it to the agent" : "Back to the middle" });
  free.setAttribute("aria-label", `${label}: ${free.title}`);
  let pointed = false;
  range.addEventListener("pointerdown", () => (pointed = true));
  range.addEventListener("input", () => touch(Number(range.value)));
  const lift = () => {
    if (pointed) leave();
    pointed = false;
  };
  for (const kind of ["change", "pointerup", "pointercancel"]) range.addEventListener(kind, lift);
  range.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.code];
    if (!step || event.target !== range) return;
    event.preventDefault(); // step "any" moves too little
    range.value = String(Number(range.value) + step * (whole ? 1 : (high - low) / 20));
    touch(Number(range.value));
  });
  free.addEventListener("click", leave);
  line.append(range, value, free);
  const show = (said) => {
    if (!pointed) range.value = String(said ?? rest);
    value.textContent = said === null ? "agent" : String(Number(said.toFixed(2)));
    line.classList.toggle("touched", said !== null && (leaves || said !== rest));
  };
  show(leaves ? null : rest);
  return { element: line, show };
}

// --- everything else: a form, sent when it changes, or by its button where the trial waits ---

function formControls(controls, hands) {
  if (controls.kind === "other") return { elements: [element("p", `No controls for ${controls.text}.`, { className: "quiet" })], axes: () => false, letGo: () => {} };
  const form = element("form", "", { className: "parts" });
  const changed = () => {
    if (!hands.waits() && form.checkValidity()) hands.send(root.value());
  };
  const root = part(controls, hands.leaves, changed, "");
  const act = element("button", "Act", { className: "strong" });
  act.title = "Do this (Enter)";
  form.append(root.element, act, ...handBack(hands));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    hands.send(root.value());
    hands.keep();
  });
  return { elements: [form], axes: () => false, letGo: () => {} };
}

/** @returns {{element: HTMLElement, value: () => any}} */
function part(controls, leaves, changed, name) {
  const { kind } = controls;
  if (kind === "dict" || kind === "tuple") {
    const field = element("fieldset");
    if (name) field.append(element("legend", name));
    const parts = Object.entries(controls.parts).map(([key, each]) => ({ key, ...part(each, leaves, changed, key) }));
    field.append(...parts.map((each) => each.element));
    const value = () => (kind === "dict" ? Object.fromEntries(parts.map((each) => [each.key, each.value()])) : parts.map((each) => each.value()));
    return { element: field, value };
  }
  if (kind === "text") return textPart(controls, leaves, changed, name);
  if (kind === "discrete") {
    const labels = controls.labels.length ? controls.labels : Array.from({ length: Math.min(controls.n, 256) }, (_, index) => String(controls.start + index));
    return choice(name || "action", labels, controls.start, leaves, changed);
  }
  const count = controls.n ?? controls.nvec?.length ?? controls.low.length;
  const field = element("fieldset");
  if (name) field.append(element("legend", name));
  const parts = Array.from({ length: Math.min(count, MOST_BUTTONS) }, (_, index) => {
    if (kind === "multi_binary") return toggle(`bit ${index}`, leaves, changed);
    if (kind === "multi_discrete") {
      const start = controls.start[index];
      return choice(`axis ${index}`, Array.from({ length: Math.min(controls.nvec[index], 256) }, (_, at) => String(start + at)), start, leaves, changed);
    }
    return level(controls, index, leaves, changed);
  });
  field.append(...parts.map((each) => each.element));
  return { element: field, value: () => Array.from({ length: count }, (_, index) => (parts[index] ? parts[index].value() : null)) };
}

/** A switch: off and on, and where there is an agent also the agent's. */
function toggle(label, leaves, changed) {
  const states = leaves ? [null, 1, 0] : [0, 1];
  let at = 0;
  const button = element("button", "", { type: "button", className: "switch" });
  button.setAttribute("role", "switch");
  const show = () => {
    button.textContent = `${label} ${["off", "on"][states[at]] ?? "agent"}`;
    button.setAttribute("aria-checked", String(states[at] === 1));
  };
  button.addEventListener("click", () => {
    at = (at + 1) % states.length;
    show();
    changed();
  });
  show();
  return { element: button, value: () => states[at] };
}

function choice(label, labels, start, leaves, changed) {
  const line = element("label", label);
  const select = element("select");
  if (leaves) select.append(element("option", "agent", { value: "" }));
  select.append(...labels.map((text, index) => element("option", text, { value: String(start + index) })));
  select.addEventListener("change", changed);
  line.append(select);
  return { element: line, value: () => (select.value === "" ? null : Number(select.value)) };
}

function textPart({ min_length: least, max_length: most, characters }, leaves, changed, name) {
  const line = element("label", name || "text");
  const box = element("input", "", { type: "text", maxLength: most, autocomplete: "off", spellcheck: false });
  if (!leaves) box.minLength = least;
  const strange = (text) => (characters ? [...text].filter((each) => !characters.includes(each)) : []);
  box.addEventListener("input", () => {
    const wrong = strange(box.value);
    box.setCustomValidity(wrong.length ? `${JSON.stringify(wrong[0])} is not one of ${characters}` : "");
  });
  box.addEventListener("change", changed);
  line.append(box);
  return { element: line, value: () => (leaves && box.value === "" ? null : box.value) };
}

function level({ low, high, rest, labels, whole }, index, leaves, changed) {
  let said = leaves ? null : rest[index];
  const row = slider(labels[index], low[index], high[index], rest[index], whole, leaves, {
    touch: (value) => {
      said = whole ? Math.round(value) : value;
      row.show(said);
      changed();
    },
    leave: () => row.show(said), // in a form a value stays
  });
  row.element.querySelector("button").addEventListener("click", () => {
    said = leaves ? null : rest[index];
    row.show(said);
    changed();
  });
  return { element: row.element, value: () => said };
}
