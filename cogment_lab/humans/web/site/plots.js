// Phases as bands, rewards and feedback as plots: SVG, one unit wide per tick.

const SVG = "http://www.w3.org/2000/svg";
const MOST_POINTS = 1500;
const BAND = 20;
const LABEL_ROW = 6;
const MOST_LABEL_ROWS = 4;

function shape(tag, attributes, title = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (title) made.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: title }));
  return made;
}

/** Where a tick lies among those shown; ticks need not be consecutive. */
function place(ticks, tick) {
  const index = ticks.findIndex((each) => each >= tick);
  return index < 0 ? ticks.length : index;
}

function clear(svg, n, height) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${Math.max(1, n)} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
}

/** Phases, below them a row for each annotator's labels, and what is chosen. */
export function drawBands(svg, trial, labels, selection) {
  const n = trial.ticks.length;
  const people = [...new Set(labels.map((label) => label.annotator))];
  const height = BAND + LABEL_ROW * Math.max(1, Math.min(people.length, MOST_LABEL_ROWS)) + 4;
  clear(svg, n, height);
  svg.style.height = `${height}px`;
  for (let start = 0; start < n; ) {
    let stop = start + 1;
    while (stop < n && trial.phase[stop] === trial.phase[start]) stop++;
    const name = trial.phase[start].toLowerCase();
    svg.append(shape("rect", { x: start, y: 0, width: stop - start, height: BAND, class: name }, `${name}, ticks ${trial.ticks[start]} to ${trial.ticks[stop - 1]}`));
    start = stop;
  }
  const span = ({ start, stop }, attributes, title) => {
    const [first, last] = [place(trial.ticks, start), place(trial.ticks, stop)];
    if (last > first) svg.append(shape("rect", { x: first, width: last - first, ...attributes }, title));
  };
  for (const label of labels) {
    const y = BAND + 3 + LABEL_ROW * (people.indexOf(label.annotator) % MOST_LABEL_ROWS);
    span(label, { y, height: LABEL_ROW - 2, class: "labelled" }, `${label.annotator || "nobody named"}: ${label.kind} ${JSON.stringify(label.value)}`);
  }
  if (selection) span(selection, { y: 0, height, class: "selected" }, "");
}

const tell = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1));

/** A curve over the ticks. @param {number[]} values @returns {string} its range, in words */
export function drawCurve(svg, values) {
  const n = values.length;
  clear(svg, n, 100);
  const low = values.reduce((least, each) => Math.min(least, each), Infinity);
  const high = values.reduce((most, each) => Math.max(most, each), -Infinity);
  const [bottom, top] = [Math.min(0, low), Math.max(0, high)];
  const y = (value) => 95 - (90 * (value - bottom)) / (top - bottom || 1);
  svg.append(shape("line", { x1: 0, x2: n, y1: y(0), y2: y(0), class: "zero" }));
  const stride = Math.max(1, Math.ceil(n / MOST_POINTS));
  const points = [];
  for (let start = 0; start < n; start += stride) {
    const part = values.slice(start, start + stride); // its extremes: a rare large reward stays visible
    points.push(`${start + 0.5},${y(Math.min(...part))}`);
    if (part.length > 1) points.push(`${start + 0.5},${y(Math.max(...part))}`);
  }
  svg.append(shape("polyline", { points: points.join(" "), class: "curve" }));
  return n ? (low === high ? `always ${tell(low)}` : `${tell(low)} to ${tell(high)}`) : "";
}

/** What was said of the ticks: up is good, down is bad, as far as it was meant. */
export function drawFeedback(svg, trial) {
  const n = trial.ticks.length;
  clear(svg, n, 40);
  svg.append(shape("line", { x1: 0, x2: n, y1: 20, y2: 20, class: "zero" }));
  for (const { tick, value, source } of trial.feedback) {
    const x = place(trial.ticks, tick) + 0.5;
    if (x > n) continue;
    const y = 20 - 17 * Math.max(-1, Math.min(1, value));
    svg.append(shape("line", { x1: x, x2: x, y1: 20, y2: y, class: value >= 0 ? "praise" : "scolding" }, `${source} of tick ${tick}: ${value}`));
  }
}

export function moveCursor(svgs, index, n) {
  for (const svg of svgs) {
    svg.querySelector(".cursor")?.remove();
    if (n) svg.append(shape("line", { x1: index + 0.5, x2: index + 0.5, y1: 0, y2: 200, class: "cursor" }));
  }
}

export function tickAt(event, svg, n) {
  const box = svg.getBoundingClientRect();
  return Math.max(0, Math.min(n - 1, Math.floor((n * (event.clientX - box.left)) / box.width)));
}
