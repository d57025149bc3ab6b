// What the trials page and the comparison page share. Text from elsewhere is only ever textContent.
import { Clip } from "./clip.js";
import { address, readLink } from "./entry.js";
import { browser } from "./storage.js";

/** @param {string} id @returns {any} an element of the page, of the kind that its HTML says */
export const $ = (id) => document.getElementById(id);
/** @param {string} selector @returns {any[]} */
export const all = (selector) => [...document.querySelectorAll(selector)];

const { token } = readLink();
let theme = browser.getItem("cogment-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = theme;

/** Theme and name are remembered by the browser, as on every page; links lead on with the token. */
export function setUpHeader(onTheme = () => {}) {
  for (const link of all("header a[href]")) link.href = address(link.getAttribute("href"));
  $("theme").addEventListener("click", () => {
    theme = theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    browser.setItem("cogment-theme", theme);
    onTheme();
  });
  $("person").value = browser.getItem("cogment-person") ?? "";
  $("person").addEventListener("input", () => browser.setItem("cogment-person", $("person").value.trim()));
}

export function element(tag, text = "", more = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...more });
}

export function say(text, kind = "error") {
  $("banner").hidden = !text;
  $("banner").dataset.kind = kind;
  $("banner").textContent = text;
}

/** @returns {Promise<Response>} an answer that is fine; otherwise the banner says why, and this throws. */
async function ask(path, parameters, options = {}) {
  const address = `./api/${path}${parameters ? `?${new URLSearchParams(parameters)}` : ""}`;
  const headers = { Authorization: `Bearer ${token}`, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const answer = await fetch(address, { ...options, headers }).catch(() => null);
  if (answer?.ok) return answer;
  const said = await answer?.json().catch(() => ({}));
  let why = "Nobody answers: the server has ended, or cannot be reached.";
  if (answer?.status === 401) why = "Ask for a new link: this one is not, or no longer, valid.";
  else if (answer) why = said.error ?? "The server does not take this: look at the values again.";
  say(why);
  throw Object.assign(new Error(why), { status: answer?.status ?? 0 });
}

export const get = async (path, parameters) => (await ask(path, parameters)).json();
export const post = async (path, content) => (await ask(path, null, { method: "POST", body: JSON.stringify(content) })).json();
export const getBlob = async (path, parameters) => (await ask(path, parameters)).blob();

export const getClip = async (path, parameters) => new Clip(await (await ask(path, parameters)).arrayBuffer());

export function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}
