// What pages find in a frame of a foreign site, where a browser keeps nothing for them.
for (const kind of ["sessionStorage", "localStorage"]) {
  Object.defineProperty(window, kind, { get() { throw new DOMException("denied", "SecurityError"); } });
}
