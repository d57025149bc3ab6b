// The way out: reachable from every page, asked twice, and what was given is kept or deleted as the person wishes.

import { button, card, make, prose } from "./dom.js";

/** Whether somebody has stopped taking part. @param {string} status */
export const isGone = (status) => status === "abandoned" || status === "withdrawn";

/**
 * Ask whether somebody really wants to stop, or, when they are gone, to have everything deleted.
 * @param {boolean} gave whether there is anything to delete
 * @param {(everything: boolean) => Promise<void>} go
 * @param {() => void} stay called when they go on
 */
export function askToLeave(gave, go, stay = null) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("leave-dialog"));
  const gone = stay === null;
  let then = stay ?? (() => {}); // done after the dialog, which gives the focus back when it closes; Escape stays
  const close = (next) => {
    then = next;
    dialog.close();
    dialog.replaceChildren();
  };
  const title = gone ? "Delete what you gave?" : "Stop taking part?";
  const told = gone
    ? "Your trials and answers are deleted, and cannot be brought back."
    : `You may stop now, without giving a reason. You cannot come back afterwards.${gave ? " What you gave so far (your trials and answers) can be kept for the study, or deleted for good." : ""}`;
  const stop = (text, everything, id) => button(text, () => close(() => go(everything)), { id, className: everything ? "danger" : "" });
  const ways = gone ? [stop("Delete everything", true, "leave-delete")] : gave ? [stop("Stop, and keep what I gave", false, "leave-keep"), stop("Stop, and delete what I gave", true, "leave-delete")] : [stop("Stop taking part", false, "leave-keep")];
  const back = button(gone ? "Leave it" : "Go on taking part", () => dialog.close(), { className: "strong", id: "leave-not", autofocus: true });
  dialog.onclose = () => {
    dialog.replaceChildren();
    then();
  };
  dialog.replaceChildren(
    make("h2", { textContent: title, id: "leave-title" }),
    make("p", { textContent: told, id: "leave-text" }),
    make("div", { className: "ways" }, back, ...ways),
  );
  dialog.showModal();
}

/** The last page of who stopped. @param {any} state @param {() => void} erase */
export function leftPage({ status, step, content }, erase) {
  const withdrawn = status === "withdrawn";
  const told = withdrawn
    ? "What you gave is deleted. All that is kept is that somebody stopped at this point, under a new random name."
    : step === "consent" ? "You gave nothing that could be kept." : "What you gave until then is kept for the study.";
  const actions = withdrawn || step === "consent" ? [] : [button("Delete what I gave", erase, { id: "erase" })];
  return card("You have stopped taking part", [...prose(content.text), make("p", { textContent: told }), make("p", { className: "quiet", textContent: "You may close this tab." })], actions);
}
