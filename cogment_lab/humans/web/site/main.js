// Wires the page: who sits here, what the trial says, what the person does.

import { Acting } from "./acting.js";
import { Banners } from "./banners.js";
import { buildControls } from "./controls.js";
import { Ending } from "./ending.js";
import { address, askLobby, chooseSeat, hasLobby, readLink, sayInstead } from "./entry.js";
import { Feedback } from "./feedback.js";
import { padProblem } from "./gamepad.js";
import { Input } from "./input.js";
import { isOffered, showOffered, wishOf } from "./offered.js";
import { Remap } from "./remap.js";
import { FINAL, SeatSocket } from "./socket.js";
import { browser } from "./storage.js";
import { $, View, all, element } from "./view.js";
import { firstSentence, helpText, keyName, keysHint, layoutKnown, phaseOf, phaseText } from "./words.js";

const PACES = ["max", "live", "half", "quarter", "step"];
const SENTENCE_MS = 12000;
const SURE_MS = 4000;
const OWN_KEYS = { toggle: "KeyT", pause: "KeyP", step: "Period", bad: "KeyZ", good: "KeyX" };
const { query, token } = readLink();
const theme = browser.getItem("cogment-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;

/** @param {{name: string}} seat */
function sit(seat) {
  let socket;
  /** @type {{elements: HTMLElement[], axes: (values: number[] | null) => boolean, letGo: () => void}} */
  let panel = { elements: [], axes: () => false, letGo: () => {} };
  const send = (message) => isOffered(state.hello, wishOf(message)) && socket?.send(message);
  const view = new View(send);
  const banners = new Banners(view, send);
  const acting = new Acting(send);
  const ending = new Ending(view, async () => {
    const lobby = await askLobby(token);
    return lobby && { trials: lobby.pages.length > 0, held: lobby.seats.some(({ name, held }) => name === seat.name && held) };
  });
  const remap = new Remap(() => build());
  const input = new Input(send, { onHeld: lightKeys, onAxes: (values) => panel.axes(values), onFeedback: (value) => feedback.give(value), onRelease: () => panel.letGo() }, remap);
  const state = { hello: null, status: null, lost: 0, seated: performance.now(), greeted: false, helped: 0, came: query.get("watch") === "1", question: null, built: "" };
  const seen = () => ({ tick: view.shownTick, trial: state.status?.trial_id ?? null });
  const feedback = new Feedback(send, { serverTime: () => socket.serverTime(), seen }, (text, time) => view.hint(text, time));
  const role = () => state.hello?.seat.role ?? "observer";
  const touch = matchMedia("(pointer: coarse)").matches;
  const probe = { get framesPainted() { return view.framesPainted; }, get lastStatus() { return state.status; }, socketState: "connecting" };
  Object.assign(window, { cogmentSeat: probe });

  // --- what the trial says ---

  function onText(message) {
    if (message.type === "hello") {
      state.hello = message;
      input.enabled = message.driving;
      input.role = message.seat.role;
      build();
    } else if (message.type === "status") {
      if (message.env_id !== state.status?.env_id || message.mix !== state.status?.mix) state.built = "";
      state.status = message;
      build();
      if (message.phase === "autonomous" && !message.learning && message.state === "running") input.insist();
    }
    refresh();
  }

  function refresh() {
    const status = state.status;
    const learns = Boolean(status?.learns);
    const showPhase = (phase, detail = "") => view.showPhase(phase, phaseText(phase, learns, role()), detail);
    if (state.lost) {
      showPhase("offline");
      const meanwhile = role() === "teacher" ? "Connection lost, the agent is flying." : "Connection lost, the trial goes on without you.";
      view.banner({ kind: "error", text: `${meanwhile} Reconnecting… (${state.lost})`, actions: [["reconnect", "Try now", () => socket.retry()]] });
      return;
    }
    if (!status) return showPhase("waiting");
    if (status.env_id === undefined) {
      view.banner(null);
      $("pill").textContent = "connected";
      return showPhase("waiting");
    }
    document.body.classList.toggle("learns", learns);
    view.showStatus(status, socket.roundTrip);
    input.paused = status.phase === "paused";
    const phase = phaseOf(status, role(), Boolean(state.hello?.driving));
    showPhase(phase, status.learning ? ` · ${status.learning_s.toFixed(1)} s` : "");
    banners.show(status, state.hello, state.came);
    if (status.countdown) view.overlay("Get ready", [], String(status.countdown));
    else if (phase !== "closed") view.overlay("");
    ending.show(status, role(), phase === "closed");
    showActing(status);
    tellFirstSeconds(status);
    ask(status.question);
  }

  function showActing({ settings, phase, pace, mask }) {
    acting.show(settings);
    if (state.hello?.driving && input.acts) acting.recall(state.status.env_id, role());
    $("step").disabled = !state.hello?.driving || (phase !== "paused" && pace !== "step");
    for (const button of all("#keys [data-action], #panel [data-action]")) {
      const barred = Boolean(mask && mask[Number(button.dataset.action) - (state.hello?.controls?.start ?? 0)] === 0);
      button.classList.toggle("barred", barred);
      button.title = barred ? "The environment does not allow this now" : "";
    }
  }

  /** The first ten seconds: one sentence at a time. */
  function tellFirstSeconds(status) {
    const flying = status.phase === "correcting" && role() === "teacher";
    if (flying && !state.flying) {
      state.helped = status.all_helped_ticks;
      view.hint(input.stays ? `${touch ? "“toggle”" : keyName("KeyT")} hands back` : "let go to hand back");
    } else if (!flying && state.flying) {
      const steps = status.all_helped_ticks - state.helped;
      view.hint(steps > 0 && status.learns && status.acknowledged ? `Thanks: ${steps} steps of yours are in its memory` : "", 3500);
      state.greeted = true;
    } else if (!state.greeted && state.hello?.driving && status.state === "running" && performance.now() - state.seated > 2000) {
      state.greeted = true;
      view.hint(firstSentence(role(), status.learns, touch), SENTENCE_MS);
    }
    state.flying = flying;
  }

  function ask(question) {
    const dialog = $("question");
    if ((question?.id ?? null) === state.question) return;
    state.question = question?.id ?? null;
    if (!question) return dialog.close();
    $("question-text").textContent = question.text;
    $("choices").replaceChildren(
      ...question.choices.map((choice, index) => {
        const button = element("button", `${index + 1} · ${choice}`, { className: index === 0 ? "strong" : "" });
        button.addEventListener("click", () => send({ type: "answer", id: question.id, choice }));
        return button;
      }),
    );
    dialog.showModal();
  }

  // --- what the person does ---

  /** Build the controls anew, where seat, keys or action space changed. */
  function build() {
    if (!state.hello) return;
    const { keymap, controls, driving, allows } = state.hello;
    const key = JSON.stringify([keymap, controls, driving, allows, role(), state.status?.env_id, state.status?.learns, remap.chosen]);
    if (key === state.built) return;
    remap.use(state.status?.env_id ?? "", keymap);
    state.built = JSON.stringify([keymap, controls, driving, allows, role(), state.status?.env_id, state.status?.learns, remap.chosen]);
    document.body.dataset.role = role();
    showOffered(state.hello);
    $("keys").replaceChildren(...(input.acts ? keymap?.bindings ?? [] : []).map((binding) => keyButton(binding, driving)));
    const hands = {
      send: (action) => input.control(action),
      hold: () => input.borrow(),
      keep: () => input.take(true),
      release: () => input.release(),
      holdable: (target, down, up) => input.holdable(target, down, up),
      leaves: role() === "teacher",
      waits: () => Boolean(state.status?.settings?.wait),
    };
    panel = input.acts && driving ? buildControls(controls, keymap, hands) : { elements: [], axes: () => false, letGo: () => {} };
    $("panel").replaceChildren(...panel.elements);
    $("keys-hint").textContent = keysHint(keymap, role(), Boolean(state.status?.learns));
    $("ramp-label").hidden = controls?.kind !== "box";
    $("idle").querySelector("[value=agent]").hidden = role() !== "teacher";
    $("pad-notice").textContent = padProblem();
    $("pad-notice").hidden = !padProblem() || !input.acts;
    for (const each of all("#drive button, #tools button, #tools input, #acting select")) each.disabled = !driving;
    $("help-text").textContent = helpText(role(), Boolean(state.status?.learns), keymap);
    for (const [id, code] of Object.entries(OWN_KEYS)) $(id).querySelector("kbd").textContent = keyName(code);
    const own = [["Space", "hold to fly", "teacher"], [keyName("KeyT"), "fly, or hand back", "teacher"], [keyName("KeyP"), "pause", "teacher player", "pause"], [keyName("Period"), "one step while paused", "teacher player", "step"], [`${keyName("KeyZ")}  ${keyName("KeyX")}`, "bad, good", "teacher evaluator", "feedback"], ["Esc", "leave a text box or a slider", "teacher player evaluator"]];
    const named = (input.acts ? keymap?.bindings ?? [] : []).map(({ keys, label }) => [names(keys), label]);
    $("help-keys").replaceChildren(...[...own.filter(([, , roles, wish]) => roles.includes(role()) && (!wish || isOffered(state.hello, wish))), ...named].flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  }

  const names = (keys) => keys.map((code) => keyName(remap.keyOf(code))).join(" ");

  function keyButton({ keys, label, value }, driving) {
    const button = element("button");
    button.dataset.keys = keys.join(" ");
    if (typeof value === "number") button.dataset.action = String(value);
    button.disabled = !driving;
    button.append(element("kbd", names(keys)), ` ${label}`);
    let giveBack = () => {};
    input.holdable(
      button,
      () => {
        keys.forEach((code) => input.press(code));
        giveBack = input.borrow();
      },
      () => {
        keys.forEach((code) => input.lift(code));
        giveBack();
      },
    );
    return button;
  }

  function lightKeys(held) {
    for (const button of $("keys").children) button.classList.toggle("lit", button.dataset.keys.split(" ").every((code) => held.includes(code)));
  }

  let stopAsked = 0;
  /** Whether this is the second click: the first one only asks, since nothing brings a stopped training back. */
  function asksAgain() {
    const is = Boolean(stopAsked);
    clearTimeout(stopAsked);
    $("stop").textContent = is ? "Stop" : "Really stop?";
    stopAsked = is ? 0 : setTimeout(asksAgain, SURE_MS);
    return is;
  }

  input.holdable($("take"), () => input.take(), () => input.release());
  $("toggle").addEventListener("click", () => input.toggle());
  $("pause").addEventListener("click", () => input.request(input.paused ? "resume" : "pause"));
  $("step").addEventListener("click", () => input.request("step"));
  for (const [name, text] of [["stop", "It stops after this trial."], ["save", "The model is saved after this trial."]]) {
    $(name).addEventListener("click", () => {
      if (name === "stop" && !asksAgain()) return;
      input.request(name);
      view.hint(text, 3000);
    });
  }
  for (const pace of PACES) $(`pace-${pace}`).addEventListener("click", () => send({ type: "pace", name: pace }));
  $("show-proposal").addEventListener("click", () => send({ type: "setting", name: "proposal", value: !state.status?.shows_proposal }));
  $("inspector").addEventListener("toggle", () => send({ type: "setting", name: "inspect", value: $("inspector").open }));
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    browser.setItem("cogment-theme", next);
    refresh();
  });
  addEventListener("keydown", (event) => {
    const choices = $("question").open ? [...$("choices").children] : [];
    const chosen = choices[Number(event.key) - 1];
    const writing = event.target instanceof HTMLElement && event.target.matches("input, select");
    if (chosen) chosen.click();
    else if (event.key === "?" && !choices.length && !writing && !$("help").open) $("help").showModal();
  });

  socket = new SeatSocket(seat.name, token, state.came, {
    onText,
    onFrame: (data) => view.onFrame(data),
    onState: (name, detail) => {
      probe.socketState = name;
      state.lost = name === "lost" ? detail : 0;
      if (["lost", "refused"].includes(name) && ["closed", "lost"].includes(state.status?.state)) {
        state.lost = 0; // it said so before it went, whoever may answer at its address now
        name = "over";
      }
      if (name === "refused" && FINAL[detail] === "flood") return location.reload();
      if (name !== "open") {
        input.taken = false;
        input.held = [];
        panel.letGo();
      }
      if (name === "over") return undefined;
      if (name === "refused") {
        input.enabled = false;
        return sayInstead("Ask for a new link", "This one opens no seat here.");
      }
      return refresh();
    },
  });
  layoutKnown.then(() => {
    state.built = "";
    build();
  });
  addEventListener("click", (event) => event.detail && /** @type {any} */ (event.target).closest?.("button")?.blur(), true); // SPACE must never press one
}

chooseSeat(query, token).then(async (seat) => {
  if (!seat) return;
  sit(seat);
  $("lobby").href = address("./lobby");
  $("lobby").hidden = !(await hasLobby(token));
});
