// What a tab and a browser remember. In a frame of a foreign page (a notebook's, at another host name) a browser may
// forbid that: then this page remembers until it is closed.

/** @param {"sessionStorage" | "localStorage"} kind @returns {{getItem: (key: string) => string | null, setItem: (key: string, value: string) => void, removeItem: (key: string) => void}} */
function storage(kind) {
  try {
    const real = window[kind];
    real.getItem("");
    return real;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    const kept = new Map();
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  }
}

export const tab = storage("sessionStorage");
export const browser = storage("localStorage");

/** Whether a reload finds what the tab remembers. */
export const outlivesReload = tab instanceof Storage;
