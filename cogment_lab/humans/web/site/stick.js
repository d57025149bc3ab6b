// A stick for mouse, pen and finger; it springs back when it is let go.

import { element } from "./view.js";

/**
 * @param {{x: string, y: string | null, move: (right: number, up: number) => void, end: () => void}} of
 *        names of what it moves; parts from -1 to 1
 */
export function stick({ x, y, move, end }) {
  const pad = element("div", "", { className: y === null ? "stick flat" : "stick" });
  const knob = element("i");
  pad.append(knob);
  pad.setAttribute("role", "img");
  pad.setAttribute("aria-label", `Stick for mouse or finger: ${[x, y].filter(Boolean).join(" and ")}. The sliders beside it do the same by keyboard.`);
  let held = false;
  const place = (right, up) => {
    knob.style.left = `${50 + 40 * right}%`;
    knob.style.top = `${50 - 40 * up}%`;
  };
  const follow = (event) => {
    const { left, top, width, height } = pad.getBoundingClientRect();
    const right = Math.max(-1, Math.min(1, (event.clientX - left - width / 2) / (0.4 * width)));
    const up = y === null ? 0 : Math.max(-1, Math.min(1, (top + height / 2 - event.clientY) / (0.4 * height)));
    place(right, up);
    move(right, up);
  };
  const lift = () => {
    if (!held) return;
    held = false;
    place(0, 0);
    end();
  };
  pad.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    held = true;
    follow(event);
  });
  pad.addEventListener("pointermove", (event) => held && follow(event));
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(kind, lift);
  place(0, 0);
  const box = element("div", "", { className: "stick-box" });
  box.append(pad, element("span", [x && `↔ ${x}`, y && `↕ ${y}`].filter(Boolean).join("  "), { ariaHidden: "true" }));
  return box;
}
