// What the page asks its server. The token stays with the tab and travels in a header, never in an address.

import { tab } from "./storage.js";

const TOKEN = "cogment-study-token";
const EXTERNAL = "cogment-study-id";

/** Somebody else's answer than the one hoped for. */
export class Refused extends Error {
  /** @param {number} status @param {any} content */
  constructor(status, content) {
    super(content?.error ?? content?.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.problems = content?.problems ?? {};
    this.state = content?.state ?? null;
    this.retryAfter = content?.retry_after ?? 0;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {}

async function ask(path, { method = "GET", body = undefined } = {}) {
  const headers = { Authorization: `Bearer ${tab.getItem(TOKEN) ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`./study/api/${path}`, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
  if (!answer || answer.status >= 500) throw new Unreachable("Nobody answers.");
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, content);
  return content;
}

/** Take the id out of the address, and join unless this tab has. */
export async function enter() {
  const query = new URLSearchParams(location.search);
  const id = query.get("id");
  if (id) {
    tab.setItem(EXTERNAL, id);
    tab.removeItem(TOKEN);
    query.delete("id");
    history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
  }
  if (!tab.getItem(TOKEN)) await join();
}

/** Get a token: as who the link says, or as somebody new. */
export async function join() {
  const id = tab.getItem(EXTERNAL);
  const { token } = await ask("join", { method: "POST", body: id ? { id } : {} });
  tab.setItem(TOKEN, token);
}

/** Whether whoever sits here can come back by themselves. */
export const canRejoin = () => Boolean(tab.getItem(EXTERNAL));

/** @param {number} idle seconds since the person last did something */
export const getState = (idle) => ask(`state?idle=${idle.toFixed(1)}`);

/** @param {string} step @param {object} answers */
export const submit = (step, answers) => ask(`steps/${step}`, { method: "POST", body: { answers } });

export const beginSession = () => ask("session", { method: "POST", body: {} });

/** Stop taking part. @param {boolean} everything whether what was given is deleted */
export const leave = (everything) => ask("leave", { method: "POST", body: { delete: everything } });

/** Milliseconds that the server takes to answer. */
export async function roundTrip() {
  const begin = performance.now();
  const answer = await fetch("./study/api/ping", { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) throw new Unreachable("Nobody answers.");
  return performance.now() - begin;
}
