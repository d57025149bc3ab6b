// What this seat offers: what whoever sits here may not ask for is not shown, and its keys do nothing.

import { $, all } from "./view.js";

/** Elements of the page, and the wish that each of them is. */
const WISHES = {
  pause: "pause", step: "step", take: "take", toggle: "take", stop: "stop", save: "save", success: "success", failure: "failure", discard: "discard",
  "pace-row": "pace", "feedback-row": "feedback", "note-form": "note", "show-proposal": "proposal", inspector: "inspect", "wait-label": "wait", "idle-label": "idle", "ramp-label": "ramp",
};
const BOXES = "#tools > .row, #tools, #drive";

/** What a message asks for, null where it asks for nothing. @param {{type: string, name?: string}} message */
export function wishOf({ type, name }) {
  if (type === "request" || type === "setting") return name ?? null;
  return ["pace", "feedback", "note"].includes(type) ? type : null;
}

/** @param {{allows?: string[] | null} | null} hello @param {string | null} wish null for none */
export const isOffered = (hello, wish) => wish === null || !hello?.allows || hello.allows.includes(wish);

/** Show what is offered, and no box with nothing in it. */
export function showOffered(hello) {
  for (const [id, wish] of Object.entries(WISHES)) $(id).classList.toggle("not-offered", !isOffered(hello, wish));
  for (const box of all(BOXES)) box.classList.toggle("empty", Boolean(box.children.length) && [...box.children].every((each) => each.matches(".not-offered, .empty, .label")));
}
