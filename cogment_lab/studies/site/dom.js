// Small help for making elements. Text is always text: nothing that people wrote becomes markup.

/** @param {string} tag @param {object} properties @param {(Node | string)[]} children @returns {any} the element, of the kind that its tag says */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Paragraphs of a text: an empty line parts them, "# " begins a heading, "- " an item of a list. */
export function prose(text) {
  return text.trim().split(/\n\s*\n/).map((part) => {
    const lines = part.split("\n").map((line) => line.trim());
    if (lines.every((line) => line.startsWith("- "))) return make("ul", {}, ...lines.map((line) => make("li", { textContent: line.slice(2) })));
    if (lines.length === 1 && lines[0].startsWith("# ")) return make("h3", { textContent: lines[0].slice(2) });
    return make("p", { textContent: lines.join(" ") });
  });
}

/** @param {string} text @param {() => void} act @param {object} properties @returns {HTMLButtonElement} */
export function button(text, act, properties = {}) {
  const element = make("button", { type: "button", textContent: text, ...properties });
  element.addEventListener("click", act);
  return element;
}

/** A page of one card: a heading, what it says, what can be done. */
export function card(title, content, actions = []) {
  const heading = make("h2", { textContent: title, tabIndex: -1 });
  return make("section", { className: "card page" }, heading, ...content, make("div", { className: "row actions" }, ...actions));
}

const KEYS = { ArrowLeft: "← left arrow", ArrowRight: "→ right arrow", ArrowUp: "↑ up arrow", ArrowDown: "↓ down arrow", Space: "Space bar" };

/** @param {string} code a KeyboardEvent.code */
export const keyName = (code) => KEYS[code] ?? code.replace(/^Key|^Digit/, "").replace(/(Left|Right)$/, " ($1)").toUpperCase();

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));
