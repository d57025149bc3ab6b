// Wires the page: who sits here, what the trial says, what the person does.

import { Input } from "./input.js";
import { FINAL, SeatSocket } from "./socket.js";
import { $, View } from "./view.js";

const KEY_NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const keyName = (code) => KEY_NAMES[code] ?? code.replace(/^Key|^Digit/, "");

// --- the link: the token leaves the address bar and stays with the tab ---

const query = new URLSearchParams(location.search);
if (query.get("token")) {
  sessionStorage.setItem("cogment-token", query.get("token"));
  query.delete("token");
  history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
}
const token = sessionStorage.getItem("cogment-token") ?? "";
const theme = localStorage.getItem("cogment-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;

function entry(title, text) {
  document.body.className = "entry";
  const heading = Object.assign(document.createElement("h1"), { textContent: title });
  const line = Object.assign(document.createElement("p"), { textContent: text, className: "quiet" });
  document.body.replaceChildren(heading, line);
}

async function chooseSeat() {
  const answer = await fetch("./api/seats", { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
  if (!answer) return entry("Nobody answers", "The training has ended, or its machine cannot be reached.");
  if (answer.status === 401) return entry("Ask for a new link", "This one is not, or no longer, valid. The program that trains prints the link when it starts.");
  const seats = await answer.json();
  const wanted = query.get("seat");
  const free = seats.filter((each) => !each.occupied && each.may_act);
  const seat = wanted ? seats.find((each) => each.name === wanted) : seats.length === 1 ? seats[0] : free.length === 1 ? free[0] : null;
  if (!seat) return location.replace("./lobby");
  query.set("seat", seat.name); // a reload comes back here
  history.replaceState(null, "", `${location.pathname}?${query}`);
  sit(seat);
}

function sit(seat) {
  let socket;
  const send = (message) => socket?.send(message);
  const view = new View(send);
  const input = new Input(send, { onHeld: lightKeys });
  const state = { hello: null, status: null, lost: 0, seated: performance.now(), greeted: false, helped: 0, watching: false, came: query.get("watch") === "1", question: null, controls: "" };
  const probe = { get framesPainted() { return view.framesPainted; }, get lastStatus() { return state.status; }, socketState: "connecting" };
  window.cogmentSeat = probe;

  // --- what the trial says ---

  function onText(message) {
    if (message.type === "hello") {
      state.hello = message;
      input.enabled = message.driving;
      buildControls(message);
    } else if (message.type === "status") {
      state.status = message;
      if (message.phase === "autonomous" && !message.learning && message.state === "running") input.insist();
    }
    refresh();
  }

  function refresh() {
    const status = state.status;
    if (state.lost) {
      view.showPhase("offline");
      view.banner({ kind: "error", text: `Connection lost, the agent is flying. Reconnecting… (${state.lost})` });
      return;
    }
    if (!status || status.env_id === undefined) {
      view.showPhase("waiting");
      return;
    }
    view.showStatus(status, socket.roundTrip);
    input.paused = status.phase === "paused";
    const finished = status.state === "closed" || status.state === "lost";
    if (finished) view.showPhase("closed");
    else if (status.learning) view.showPhase("learning", ` · ${status.learning_s.toFixed(1)} s`);
    else view.showPhase(status.phase);
    showBanner(status);
    showOverlay(status, finished);
    tellFirstSeconds(status);
    ask(status.question);
  }

  function showBanner(status) {
    if (state.hello && !state.hello.driving && state.hello.may_act && !state.watching) {
      const { occupied, driver } = state.hello;
      const watch = ["watch-only", "Watch", () => { state.watching = true; refresh(); }];
      const move = ["move-seat", occupied ? "Move seat here" : "Sit down here", () => send({ type: "move" })];
      const where = driver ? `Already seated elsewhere: ${driver}.` : "Already seated elsewhere.";
      const text = !occupied ? "The seat is free." : state.came ? `You are watching${driver ? ` ${driver}` : ""}.` : where;
      view.banner({ kind: "warn", text, actions: [watch, move] });
    } else if (status.state === "lost") {
      const copy = ["copy-report", "Copy report", () => navigator.clipboard?.writeText(JSON.stringify(status, null, 1))];
      view.banner({ kind: "error", text: `Training stopped: ${status.crash}. Last trial ${status.trial_id}.`, actions: [copy] });
    } else if (status.store_status) {
      view.banner({ kind: "error", text: status.store_status });
    } else if (status.all_helped_ticks > 0 && !status.acknowledged) {
      view.banner({ kind: "warn", text: "You are steering, but nobody learns from it. Add", code: "callback=TrialCallback()" });
    } else if (!status.renderable) {
      view.banner({ kind: "warn", text: "This environment draws no pictures:", code: status.remedy });
    } else if (status.refused > 0) {
      view.banner({ kind: "warn", text: `${status.refused} of your actions were outside the action space and not executed.` });
    } else view.banner(null);
  }

  function showOverlay(status, finished) {
    if (status.countdown) view.overlay("Get ready", [], String(status.countdown));
    else if (finished) {
      const help = status.all_ticks ? ((100 * status.all_helped_ticks) / status.all_ticks).toFixed(1) : "0";
      view.overlay("Training finished", [`${status.trial_number + 1} trials · ${status.all_ticks} ticks`, `${status.all_takeovers} takeovers, ${help} % of the ticks were yours`]);
    } else view.overlay("");
  }

  /** The first ten seconds: one sentence at a time. */
  function tellFirstSeconds(status) {
    const flying = status.phase === "correcting";
    if (flying && !state.flying) {
      state.helped = status.all_helped_ticks;
      view.hint("let go to hand back");
    } else if (!flying && state.flying) {
      const steps = status.all_helped_ticks - state.helped;
      view.hint(steps > 0 && status.acknowledged ? `Thanks: ${steps} steps of yours are in its memory` : "", 3500);
      state.greeted = true;
    } else if (!state.greeted && state.hello?.driving && performance.now() - state.seated > 2000) {
      state.greeted = true;
      view.hint(state.hello.seat.role === "player" ? "You are flying: use the keys below." : "This agent is learning. Hold SPACE and fly it yourself.", 12000);
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
        const button = document.createElement("button");
        button.textContent = `${index + 1} · ${choice}`;
        button.className = index === 0 ? "strong" : "";
        button.addEventListener("click", () => send({ type: "answer", id: question.id, choice }));
        return button;
      }),
    );
    dialog.showModal();
  }

  // --- what the person does ---

  function buildControls({ keymap, controls, driving, seat: { role } }) {
    const key = JSON.stringify([keymap, controls, driving]);
    if (key === state.controls) return;
    state.controls = key;
    $("keys").replaceChildren(
      ...(keymap?.bindings ?? []).map(({ keys, label }) => {
        const button = document.createElement("button");
        button.dataset.keys = keys.join(" ");
        button.disabled = !driving;
        button.append(Object.assign(document.createElement("kbd"), { textContent: keys.map(keyName).join(" ") }), ` ${label}`);
        let borrowed = false; // control that this button took, and gives back
        input.holdable(
          button,
          () => {
            keys.forEach((code) => input.press(code));
            borrowed = role === "teacher" && !input.taken;
            if (borrowed) input.take();
          },
          () => {
            keys.forEach((code) => input.lift(code));
            if (borrowed) input.release();
            borrowed = false;
          },
        );
        return button;
      }),
    );
    const rest = keymap?.noop ? `No key: ${keymap.noop.label}.` : keymap?.turn_based ? "The trial waits for your key." : keymap ? "No key: the agent's own action." : "";
    $("keys-hint").textContent = [keymap?.hint, rest].filter(Boolean).join(" ");
    $("sliders").replaceChildren(...(controls?.kind === "box" ? boxSliders(controls, role) : []));
    for (const id of ["take", "toggle"]) $(id).hidden = role !== "teacher";
    for (const id of ["take", "toggle", "pause", "save", "stop", "discard", "good", "bad", "feedback"]) $(id).disabled = !driving;
    $("help-keys").replaceChildren(
      ...[["Space", "hold to fly"], ["T", "fly, or hand back"], ["P", "pause"], [".", "one step while paused"], ["Z  X", "bad, good"],
        ...(keymap?.bindings ?? []).map(({ keys, label }) => [keys.map(keyName).join(" "), label])]
        .flatMap(([name, text]) => [Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: text })]),
    );
  }

  /** Sliders for a Box of at most eight dimensions: moving one takes control, letting go hands back. */
  function boxSliders({ low, high, labels }, role) {
    if (low.length > 8) return [];
    const values = low.map((least, index) => (least + high[index]) / 2);
    const start = values.slice();
    return values.map((value, index) => {
      const label = document.createElement("label");
      const slider = Object.assign(document.createElement("input"), { type: "range", min: low[index], max: high[index], step: "any", value });
      label.append(labels?.[index] ?? `action ${index}`, slider);
      slider.addEventListener("input", () => {
        values[index] = Number(slider.value);
        send({ type: "controls", action: values, t: performance.now() });
        if (role === "teacher" && !input.taken) input.take();
      });
      slider.addEventListener("change", () => {
        slider.value = String((values[index] = start[index]));
        send({ type: "controls", action: null, t: performance.now() });
        if (role === "teacher") input.release();
      });
      return label;
    });
  }

  function lightKeys(held) {
    for (const button of $("keys").children) button.classList.toggle("lit", button.dataset.keys.split(" ").every((code) => held.includes(code)));
  }

  input.holdable($("take"), () => input.take(), () => input.release());
  $("toggle").addEventListener("click", () => input.toggle());
  $("pause").addEventListener("click", () => input.request(input.paused ? "resume" : "pause"));
  $("step").addEventListener("click", () => input.request("step"));
  for (const name of ["stop", "save", "discard"]) {
    $(name).addEventListener("click", () => {
      input.request(name);
      view.hint({ stop: "Training stops after this trial.", save: "The model is saved after this trial.", discard: "This trial is marked as discarded." }[name], 3000);
    });
  }
  for (const pace of ["max", "live", "half", "quarter", "step"]) $(`pace-${pace}`).addEventListener("click", () => send({ type: "pace", name: pace }));
  $("bad").addEventListener("click", () => input.feedback(-1));
  $("good").addEventListener("click", () => input.feedback(1));
  $("feedback").addEventListener("change", (event) => { input.feedback(Number(event.target.value)); event.target.value = "0"; });
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("cogment-theme", next);
    refresh();
  });
  addEventListener("keydown", (event) => {
    const choices = $("question").open ? [...$("choices").children] : [];
    const chosen = choices[Number(event.key) - 1];
    if (chosen) chosen.click();
    else if (event.key === "?" && !choices.length) $("help").showModal();
  });

  socket = new SeatSocket(seat.name, token, state.came, {
    onText,
    onFrame: (data) => view.onFrame(data),
    onState: (name, detail) => {
      probe.socketState = name;
      state.lost = name === "lost" ? detail : 0;
      if (name === "refused") return FINAL[detail] === "flood" ? location.reload() : entry("Ask for a new link", "This one opens no seat here.");
      if (name === "lost") {
        input.taken = false;
        input.held = [];
        if (state.status?.state === "closed") return view.showPhase("closed");
      }
      refresh();
    },
  });
  addEventListener("click", (event) => event.target.closest?.("button")?.blur(), true); // SPACE must never press one
}

chooseSeat();
