// What is wrong, what happens meanwhile, and one button: the most important thing first.

const REFUSED_MS = 6000;
const SLOW_SECONDS = 5;
const SLOW_SHARE = 0.6;

export class Banners {
  /**
   * @param {import("./view.js").View} view
   * @param {(message: object) => void} send
   */
  constructor(view, send) {
    this.view = view;
    this.send = send;
    this.watching = false;
    this.refused = 0;
    this.refusedAt = -REFUSED_MS;
    this.slowFor = 0;
    this.slow = "";
    this.last = { sequence: 0, painted: 0, fps: 0 };
    setInterval(() => this.measure(), 1000);
  }

  /** How many of the pictures that there were have been painted: the link's doing, not the environment's. */
  measure() {
    const { framesPainted, sequence } = this.view;
    const [made, painted] = [sequence - this.last.sequence, framesPainted - this.last.painted];
    this.last = { sequence, painted: framesPainted, fps: painted };
    const status = this.status;
    const counts = status?.pace === "live" && status.state === "running" && !status.learning && !document.hidden && made > 5;
    this.slowFor = counts && painted < SLOW_SHARE * Math.min(made, status.rate) ? this.slowFor + 1 : 0;
    if (this.slowFor >= SLOW_SECONDS && this.mayPace) {
      this.slowFor = 0;
      this.slow = `Your link shows ${painted} fps; pace lowered to 1/2.`;
      this.send({ type: "pace", name: "half" });
    }
  }

  /** @param {any} status @param {any} hello @param {boolean} came to watch only */
  show(status, hello, came) {
    this.status = status;
    const role = hello?.seat.role;
    this.mayPace = Boolean(hello?.driving) && role === "teacher";
    this.view.banner(this.choose(status, hello, role, came));
  }

  /** @returns {any} what {@link import("./view.js").View.banner} takes */
  choose(status, hello, role, came) {
    if (hello && !hello.driving && hello.may_act && !this.watching) {
      const { occupied, driver } = hello;
      const watch = ["watch-only", came || !occupied ? "Go on watching" : "Watch", () => { this.watching = true; this.show(status, hello, came); }];
      const move = ["move-seat", occupied ? "Move seat here" : "Sit down here", () => this.send({ type: "move" })];
      const where = driver ? `Already seated elsewhere: ${driver}.` : "Already seated elsewhere.";
      const text = !occupied ? "The seat is free." : came ? `You are watching${driver ? ` ${driver}` : ""}.` : where;
      return { kind: "warn", text, actions: [watch, move] };
    }
    const copy = ["copy-report", "Copy report", () => navigator.clipboard?.writeText(JSON.stringify(status, null, 1))];
    const crash = status.crash?.split("\n")[0].replace(/\.$/, "");
    const where = `Trial ${status.trial_id}, tick ${status.tick}.`;
    if (status.crash && status.end_reason === "environment_crashed") return { kind: "error", text: `The environment crashed: ${crash}. ${where}`, actions: [copy] };
    if (status.state === "lost") return { kind: "error", text: `The program has stopped: ${crash}. ${where}`, actions: [copy] };
    if (status.store_status) {
      const stopped = new Date(1000 * status.store_stopped).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      return { kind: "error", text: `Recording stopped at ${stopped}: ${status.store_status.replace(/^recording stopped: /, "")}` };
    }
    if (role === "teacher" && status.all_helped_ticks > 0 && !status.acknowledged) return { kind: "warn", text: "You are steering, but nobody learns from it. Add", code: "callback=TrialCallback()" };
    if (status.refused > this.refused) [this.refused, this.refusedAt] = [status.refused, performance.now()];
    if (performance.now() - this.refusedAt < REFUSED_MS) return { kind: "warn", text: `Not executed: ${status.refusal ?? "no action of this environment"}.` };
    if (this.slow && status.pace === "half") {
      return { kind: "warn", text: this.slow, actions: [["live-again", "Live again", () => { this.slow = ""; this.send({ type: "pace", name: "live" }); }]] };
    }
    if (!status.renderable) return { kind: "warn", text: "This environment draws no pictures. They come with", code: status.remedy };
    return null;
  }
}
