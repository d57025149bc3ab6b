// The seat's connection: opens, reopens, tells who listens, and what time it is at the server. No knowledge of what is shown.

import { browser, tab } from "./storage.js";

const BACKOFF_MS = [300, 600, 1200, 2400, 4000];
const PING_MS = 5000;
const PINGS_KEPT = 12;
const NO_SEAT = 4404;
export const FINAL = { 4401: "token", 4403: "origin", 4404: "seat", 4429: "flood" };

/** A per-tab id that survives a reload, so that the same tab drives again. */
function clientId() {
  let id = tab.getItem("cogment-client");
  if (!id) {
    id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    tab.setItem("cogment-client", id);
  }
  return id;
}

export class SeatSocket {
  /**
   * @param {string} seat name of the seat
   * @param {string} token
   * @param {boolean} watch only look, even where the seat is free
   * @param {{onText: (message: any) => void, onFrame: (data: ArrayBuffer) => void,
   *          onState: (state: string, detail: number) => void}} listener
   */
  constructor(seat, token, watch, listener) {
    this.listener = listener;
    this.token = token;
    this.attempt = 0;
    this.roundTrip = 0;
    this.status = {};
    this.pings = [];
    this.wasSeated = false;
    const about = new URLSearchParams({ client: clientId(), patches: "1", person: browser.getItem("cogment-person") ?? "" });
    if (watch) about.set("watch", "1");
    const url = new URL(`./api/seats/${encodeURIComponent(seat)}/socket?${about}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.url = url.href;
    this.open();
    setInterval(() => this.ping(), PING_MS);
  }

  open() {
    const socket = new WebSocket(this.url, ["cogment_lab.seat.v1", `token.${this.token}`]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.pings = [];
      this.send({ type: "visible", visible: !document.hidden });
      this.ping();
    };
    socket.onmessage = (event) => {
      if (typeof event.data !== "string") return this.listener.onFrame(event.data);
      const message = JSON.parse(event.data);
      if (this.attempt || !this.wasSeated) this.listener.onState("open", 0);
      this.attempt = 0;
      this.wasSeated = true;
      if (message.type === "pong") this.onPong(message);
      else if (message.type === "hello") this.listener.onText(message);
      else {
        this.status = message.type === "patch" ? { ...this.status, ...message.changes } : message;
        this.listener.onText({ ...this.status });
      }
    };
    socket.onclose = (event) => {
      const comesLater = event.code === NO_SEAT && this.wasSeated; // its program starts again
      if (FINAL[event.code] && !comesLater) return this.listener.onState("refused", event.code);
      this.attempt += 1;
      this.listener.onState("lost", this.attempt);
      this.timer = setTimeout(() => this.open(), BACKOFF_MS[Math.min(this.attempt, BACKOFF_MS.length) - 1]);
    };
  }

  /** Do not wait for the next attempt. */
  retry() {
    if (this.socket.readyState !== WebSocket.CLOSED) return; // one is under way
    clearTimeout(this.timer);
    this.open();
  }

  onPong({ t, server }) {
    const now = performance.now();
    this.roundTrip = now - t;
    this.pings = [...this.pings.slice(1 - PINGS_KEPT), { trip: this.roundTrip, offset: server + this.roundTrip / 2 - now }];
  }

  /** The server's clock (ms) at a moment of the page's; the fastest of the last pings says how far they are apart. */
  serverTime(t = performance.now()) {
    if (!this.pings.length) return null;
    return t + this.pings.reduce((best, each) => (each.trip < best.trip ? each : best)).offset;
  }

  ping() {
    this.send({ type: "ping", id: 0, t: performance.now() });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
