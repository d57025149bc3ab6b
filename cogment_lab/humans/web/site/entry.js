// The way in: the token leaves the address bar and stays with the tab; one seat is taken, or the lobby asks.

import { outlivesReload, tab } from "./storage.js";

/** @returns {{query: URLSearchParams, token: string}} */
export function readLink() {
  const query = new URLSearchParams(location.search);
  if (query.get("token")) {
    tab.setItem("cogment-token", query.get("token"));
    if (outlivesReload) query.delete("token");
    history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
  }
  return { query, token: tab.getItem("cogment-token") ?? "" };
}

/** The address of another of these pages, with the token where the tab does not keep it. @param {string} path */
export function address(path) {
  const token = tab.getItem("cogment-token");
  if (outlivesReload || !token) return path;
  return `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
}

/** Say something instead of showing a seat. @returns {null} */
export function sayInstead(title, text) {
  document.body.className = "entry";
  const heading = Object.assign(document.createElement("h1"), { textContent: title });
  const line = Object.assign(document.createElement("p"), { textContent: text, className: "quiet" });
  document.body.replaceChildren(heading, line);
  return null;
}

/** What the lobby shows for that token, null where nobody answers. */
export async function askLobby(token) {
  const answer = await fetch("./api/lobby", { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
  return answer?.ok ? answer.json() : null;
}

/** Whether the link opens more than one seat: then there is something to go back to. */
export async function hasLobby(token) {
  const lobby = await askLobby(token);
  return Boolean(lobby) && (lobby.seats.length > 1 || lobby.pages.length > 0);
}

/**
 * @param {URLSearchParams} query @param {string} token
 * @returns {Promise<{name: string, role: string} | null>} null where the page says something else, or goes to the lobby
 */
export async function chooseSeat(query, token) {
  const answer = await fetch("./api/seats", { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
  if (!answer) return sayInstead("Nobody answers", "The program has ended, or its machine cannot be reached.");
  if (answer.status === 401) return sayInstead("Ask for a new link", "This one is not, or no longer, valid. The program that runs the trials prints the link when it starts.");
  const seats = await answer.json();
  const wanted = query.get("seat");
  const free = seats.filter((each) => !each.occupied && each.may_act);
  const seat = wanted ? seats.find((each) => each.name === wanted) : seats.length === 1 ? seats[0] : free.length === 1 ? free[0] : null;
  if (!seat) {
    location.replace(address("./lobby"));
    return null;
  }
  query.set("seat", seat.name); // a reload comes back here
  history.replaceState(null, "", `${location.pathname}?${query}`);
  return seat;
}
