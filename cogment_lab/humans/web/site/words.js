// What the page says to whom: a trainer's words are for those who sit beside a learner.

const PHASES = {
  waiting: "… Waiting for a trial",
  autonomous: "▶ AGENT IS FLYING",
  running: "▶ RUNNING",
  playing: "YOU are playing",
  correcting: "YOU are flying",
  helped: "A TEACHER is flying",
  paused: "❚❚ PAUSED",
  learning: "⟳ LEARNING",
  busy: "⟳ One moment",
  offline: "⚠ OFFLINE",
  closed: "✓ Finished",
  stopped: "✕ STOPPED",
};

/**
 * The phase as this person sees it.
 * @param {{phase: string, learns: boolean, learning: boolean, state: string}} status
 * @param {string} role
 * @param {boolean} driving
 */
export function phaseOf(status, role, driving) {
  if (status.state === "lost") return "stopped";
  if (status.state === "closed") return "closed";
  if (status.learning) return status.learns ? "learning" : "busy";
  if (status.phase === "paused") return "paused";
  if (role === "player") return driving ? "playing" : "running";
  if (role === "teacher") return status.phase;
  if (status.phase === "correcting") return "helped";
  return status.learns ? "autonomous" : "running";
}

/** @param {string} phase @param {boolean} learns @param {string} role */
export function phaseText(phase, learns, role) {
  if (phase === "closed" && learns) return "✓ Training finished";
  if (phase === "offline" && role === "teacher") return "⚠ OFFLINE · the agent is flying";
  return PHASES[phase];
}

/** The one sentence that a newcomer needs. */
export function firstSentence(role, learns, touch) {
  if (role === "player") return touch ? "You play: use the buttons below." : "You play: use the keys below.";
  if (role === "evaluator") return "Say what you think of it: X for good, Z for bad, as it happens.";
  if (role === "observer") return "";
  const how = touch ? "Hold the button and fly it yourself." : "Hold SPACE and fly it yourself.";
  return learns ? `This agent is learning. ${how}` : `This is an agent. ${how}`;
}

/** What the help dialog begins with. */
export function helpText(role, learns, keymap) {
  if (role === "player") return "You play. Nobody does it for you: what you hold is what happens.";
  if (role === "evaluator") return "Watch, and praise or scold what you see. Each opinion is kept with the moment you had it, whatever happens afterwards.";
  if (role === "observer") return "You watch. Nothing you do here changes the trial.";
  return `Hold Space and fly it yourself; let go to hand back.${learns ? " What you do goes into the agent's memory." : ""} ${withoutKey(keymap)}`;
}

function withoutKey(keymap) {
  if (!keymap?.noop) return "Space without another key leaves it to the agent.";
  return `Space without another key is “${keymap.noop.label}”, which is also an action.`;
}

const KEY_NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Period: "." };
let layout = new Map();

/** What is printed on the keys of this person's keyboard, where the browser tells; others are called as on a US one. */
export const layoutKnown = Promise.resolve()
  .then(() => /** @type {any} */ (navigator).keyboard?.getLayoutMap())
  .then((map) => (layout = map ?? layout))
  .catch(() => layout); // not allowed in this frame

/** @param {string} code a KeyboardEvent.code, or a gamepad's Button2 or Axis3Plus */
export const keyName = (code) =>
  KEY_NAMES[code] ?? layout.get(code)?.toUpperCase() ?? code.replace(/^Key|^Digit/, "").replace(/^Button(\d+)$/, "pad $1").replace(/^Axis(\d+)(Plus|Minus)$/, (_, axis, way) => `stick ${axis}${way === "Plus" ? "+" : "−"}`);

/** What is pressed as what, and what nothing means. */
export function keysHint(keymap, role, learns) {
  if (!keymap) return "";
  const agent = role === "teacher" ? "No key: the agent's own action." : learns ? "No key: whatever the program does." : "No key: the last one goes on.";
  const rest = keymap.noop ? `No key: ${keymap.noop.label}.` : keymap.turn_based ? "The trial waits for you." : agent;
  return [keymap.hint, rest].filter(Boolean).join(" ");
}
