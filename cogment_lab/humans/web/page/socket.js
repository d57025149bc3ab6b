// The connection to a seat: it comes back by itself, and says why when it may not.

const PROTOCOL = "cogment_lab.seat.v1";
const FIRST_WAIT = 250;
const LONGEST_WAIT = 4000;
const FINAL = new Set([4401, 4403, 4404, 4409]);

export class SeatSocket {
  /** on: {open, hello, status, frame, latency, lost(attempt), refused(code, reason), ended} */
  constructor(seat, token, client, on) {
    this.state = "connecting";
    this._seat = seat;
    this._token = token;
    this._client = client;
    this._on = on;
    this._attempt = 0;
    this._pings = new Map();
    this._pingId = 0;
    this._wanted = true;
    this._open();
  }

  send(message) {
    if (this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(JSON.stringify(message));
    return true;
  }

  /** Leave for good. */
  close() {
    this._wanted = false;
    clearTimeout(this._timer);
    this._socket?.close();
  }

  /** Try at once. */
  retry() {
    if (this.state === "open") return;
    clearTimeout(this._timer);
    this._wanted = true;
    this._open();
  }

  _open() {
    clearTimeout(this._timer);
    const address = new URL(`./api/seats/${encodeURIComponent(this._seat)}/socket`, document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams({ client: this._client });
    const old = this._socket;
    const socket = new WebSocket(address, [PROTOCOL, `token.${this._token}`]);
    this._socket = socket;
    old?.close();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket === this._socket && this._opened();
    socket.onmessage = (event) => socket === this._socket && this._hear(event.data);
    socket.onclose = (event) => socket === this._socket && this._closed(event);
  }

  _opened() {
    this.state = "open";
    this._on.open();
    this._ping();
    clearInterval(this._pinger);
    this._pinger = setInterval(() => this._ping(), 5000);
  }

  _ping() {
    this._pingId += 1;
    this._pings.clear();
    this._pings.set(this._pingId, performance.now());
    this.send({ type: "ping", id: this._pingId, t: performance.now() });
  }

  _hear(data) {
    this._attempt = 0;
    if (typeof data !== "string") {
      this._on.frame(data);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === "pong") {
      const sent = this._pings.get(message.id);
      if (sent !== undefined) this._on.latency(performance.now() - sent);
    } else if (message.type === "hello" || message.type === "status") {
      this._on[message.type](message);
    }
  }

  _closed(event) {
    clearInterval(this._pinger);
    if (!this._wanted) {
      this.state = "closed";
      return;
    }
    if (FINAL.has(event.code)) {
      this._wanted = false;
      this.state = "refused";
      this._on.refused(event.code, event.reason);
      return;
    }
    this.state = "lost";
    this._attempt += 1;
    if (event.code === 1001) this._on.ended();
    this._on.lost(this._attempt);
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this._attempt - 1));
    this._timer = setTimeout(() => this._open(), wait * (0.8 + 0.4 * Math.random()));
  }
}

/** The seats of this server; throws {status} when it refuses, a TypeError when nobody answers. */
export async function listSeats(token) {
  const answer = await fetch("./api/seats", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  return answer.json();
}
