// Every sentence the page says, the names of the keys, and how numbers are written.

export const PHASES = {
  autonomous: { icon: "▶", label: "AGENT IS FLYING", hint: "hold SPACE to take over" },
  correcting: { icon: "✋", label: "YOU", hint: "let go to hand back" },
  paused: { icon: "❚❚", label: "PAUSED", hint: "P goes on · . one step" },
  learning: { icon: "⟳", label: "LEARNING", hint: "keys wait until it is done" },
  offline: { icon: "✕", label: "OFFLINE", hint: "" },
  waiting: { icon: "…", label: "WAITING", hint: "" },
};

export const SAYS = {
  invite: "This agent is learning. Hold SPACE and fly it yourself.",
  inviteTouch: "This agent is learning. Hold the orange button and fly it yourself.",
  letGo: "let go to hand back",
  toggled: "press T to hand back",
  thanks: (n) => `Thanks: ${n} ${n === 1 ? "step" : "steps"} of yours ${n === 1 ? "is" : "are"} in its memory`,
  recorded: (n) => `${n} ${n === 1 ? "step" : "steps"} of yours ${n === 1 ? "was" : "were"} flown; nobody learns from takeovers yet`,
  lost: (n) => `Connection lost, the agent is flying. Reconnecting… (${n})`,
  learning: (s) => `Learning… ${s.toFixed(1)} s`,
  seated: "Already seated elsewhere",
  moved: "This seat was moved to another tab",
  noLearner: "Nobody learns from your takeovers. Add callback=TrialCallback() to learn().",
  slow: (fps) => `Your link shows ${fps} fps. A slower pace lets you see every step.`,
  gamepad: "Browsers allow gamepads only on https or localhost.",
  late: "Too late: fallback used",
  refused: "That action lies outside the action space",
  newLink: "Ask for a new link",
  newLinkWhy: "This link is missing its token, or the training behind it has ended. The script prints a fresh link each time it starts.",
  noSeat: "No seat yet",
  noSeatWhy: "The server runs, but no environment has opened a seat. This page enters as soon as one does.",
  unreachable: "Nobody answers",
  unreachableWhy: (n) => `The training is not running, or this computer cannot reach it. Trying again… (${n})`,
  waiting: "Waiting for an environment. It appears here by itself.",
  finished: "Training finished",
  crashed: "The training stopped with an error",
  gone: "The training process is gone",
};

const CODES = {
  Space: "SPACE", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Enter: "⏎", Escape: "Esc",
  Backspace: "⌫", Delete: "Del", Insert: "Ins", PageUp: "PgUp", PageDown: "PgDn", Tab: "⇥", CapsLock: "⇪",
  ShiftLeft: "⇧", ShiftRight: "⇧ right", ControlLeft: "Ctrl", ControlRight: "Ctrl right", AltLeft: "Alt",
  AltRight: "Alt right", MetaLeft: "⌘", MetaRight: "⌘ right", Minus: "-", Equal: "=", BracketLeft: "[",
  BracketRight: "]", Backslash: "\\", Semicolon: ";", Quote: "'", Backquote: "`", Comma: ",", Period: ".", Slash: "/",
};
let layout = null;

/** Learn what is printed on this person's keys, where the browser tells. */
export async function readLayout() {
  try {
    layout = await navigator.keyboard.getLayoutMap();
  } catch {
    layout = null;
  }
}

/** What is printed on the key of a KeyboardEvent.code. */
export function keyName(code) {
  if (CODES[code]) return CODES[code];
  const printed = layout?.get(code);
  if (printed) return printed.toUpperCase();
  return code
    .replace(/^(Key|Digit)/, "")
    .replace(/^Numpad/, "Num ")
    .replace(/^Button(\d+)$/, "pad $1")
    .replace(/^Axis(\d+)/, "stick $1 ");
}

export function keysName(codes) {
  return codes.map(keyName).join(" + ");
}

/** -43.2, 1 204, 14.2k */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${minus((value / 1e6).toFixed(1))}M`;
  if (size >= 1e4) return `${minus((value / 1e3).toFixed(1))}k`;
  if (Number.isInteger(value)) return minus(String(value));
  return minus(size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toPrecision(2));
}

export function percent(part, whole) {
  if (!whole) return "0 %";
  const share = (100 * part) / whole;
  return `${share > 0 && share < 1 ? "<1" : Math.round(share)} %`;
}

function minus(text) {
  return text.replace("-", "−");
}
