// Keyboard, window, connection: tried before anything counts, with plain words where something does not do.

import { Unreachable, roundTrip } from "./api.js";
import { button, card, keyName, make } from "./dom.js";

const PINGS = 20;

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * @param {{keys: string[], min_width: number, min_height: number, max_round_trip_ms: number}} wanted
 * @param {(answers: object) => void} pass
 */
export function preflightPage(wanted, pass) {
  const pressed = new Set();
  const touch = matchMedia("(pointer: coarse)").matches;
  const measured = { trip: NaN, unreachable: false };
  const stop = new AbortController();
  const again = button("Measure again", () => measure(), { className: "small" });
  const go = button("Continue", () => finish(), { className: "strong" });
  const keys = wanted.keys.map((code) => make("kbd", { textContent: keyName(code), className: "wanted" }));
  const lines = {
    keys: line(make("span", { className: "keys" }, ...keys)),
    window: line(),
    trip: line(again),
  };

  function line(...extra) {
    const [mark, text, help] = [make("span", { className: "mark" }), make("strong"), make("p", { className: "help" })];
    const item = make("li", {}, mark, make("div", {}, text, ...extra, help));
    return { item, mark, text, help };
  }

  function show({ item, mark, text, help }, state, told, hint = "") {
    item.dataset.state = state;
    mark.textContent = { good: "✓", bad: "!", busy: "…" }[state];
    mark.setAttribute("aria-label", { good: "passed", bad: "not passed", busy: "to do" }[state]);
    if (text.textContent !== told) text.textContent = told;
    help.textContent = hint;
    return state === "good";
  }

  function refresh() {
    const missing = wanted.keys.filter((code) => !pressed.has(code));
    keys.forEach((key, index) => key.classList.toggle("done", pressed.has(wanted.keys[index])));
    const keyHelp = missing.length ? `Press each of them once.${touch ? " This study needs a keyboard: please open it on a computer." : ""}` : "";
    const fine = [
      show(lines.keys, missing.length ? "busy" : "good", missing.length ? "These keys" : "The keys work", keyHelp),
      showWindow(),
      showTrip(),
    ];
    go.disabled = !fine.every(Boolean);
  }

  function showWindow() {
    const [width, height] = [innerWidth, innerHeight];
    const small = [width < wanted.min_width && "wider", height < wanted.min_height && "higher"].filter(Boolean).join(" and ");
    const size = `${width} × ${height} pixels; ${wanted.min_width} × ${wanted.min_height} are needed`;
    if (!small) return show(lines.window, "good", `The window is large enough (${width} × ${height})`);
    return show(lines.window, "bad", `The window must be ${small}`, `It has ${size}. ${touch ? "Please open this study on a computer." : `Make it ${small}, go to full screen (F11), or zoom out (Ctrl and −).`}`);
  }

  function showTrip() {
    const shown = `${Math.round(measured.trip)} ms`;
    if (measured.unreachable) return show(lines.trip, "bad", "The server does not answer", "Check your network, then measure again.");
    if (Number.isNaN(measured.trip)) return show(lines.trip, "busy", "Measuring your connection…");
    if (measured.trip <= wanted.max_round_trip_ms) return show(lines.trip, "good", `Your connection is fast enough (${shown})`);
    return show(lines.trip, "bad", `Your connection takes ${shown}; at most ${wanted.max_round_trip_ms} ms will do`, "Stop downloads and video calls, come closer to the Wi-Fi or use a cable, switch a VPN off, then measure again.");
  }

  async function measure() {
    Object.assign(measured, { trip: NaN, unreachable: false });
    again.disabled = true;
    refresh();
    const trips = [];
    try {
      while (trips.length < PINGS && !stop.signal.aborted) trips.push(await roundTrip());
      measured.trip = median(trips);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      measured.unreachable = true;
    }
    again.disabled = false;
    refresh();
  }

  function finish() {
    pass({ keys: [...pressed], width: innerWidth, height: innerHeight, round_trip_ms: Math.round(measured.trip * 10) / 10 });
  }

  addEventListener("keydown", (event) => {
    if (!wanted.keys.includes(event.code)) return;
    if (!pressed.has(event.code)) event.preventDefault();
    pressed.add(event.code);
    refresh();
  }, { signal: stop.signal });
  addEventListener("resize", refresh, { signal: stop.signal });

  lines.keys.item.hidden = !wanted.keys.length;
  const list = make("ul", { className: "checks" }, ...Object.values(lines).map((each) => each.item));
  refresh();
  measure();
  return { element: card("A short check", [make("p", { textContent: "Before we begin: does everything work on your side?" }), list], [go]), close: () => stop.abort() };
}
