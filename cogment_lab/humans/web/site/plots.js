// Phases as bands, rewards and feedback as a plot: SVG, one unit wide per tick.

const SVG = "http://www.w3.org/2000/svg";
const MOST_POINTS = 1500;

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
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

export function drawBands(svg, trial, labels, selection) {
  const n = trial.ticks.length;
  clear(svg, n, 34);
  for (let start = 0; start < n; ) {
    let stop = start + 1;
    while (stop < n && trial.phase[stop] === trial.phase[start]) stop++;
    const band = shape("rect", { x: start, y: 0, width: stop - start, height: 20, class: trial.phase[start].toLowerCase() });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${trial.phase[start].toLowerCase()}, ticks ${trial.ticks[start]} to ${trial.ticks[stop - 1]}`;
    band.append(title);
    svg.append(band);
    start = stop;
  }
  const rows = labels.map((label) => [label, "labelled", 23, 4]);
  if (selection) rows.push([selection, "selected", 29, 4]);
  for (const [{ start, stop }, name, y, height] of rows) {
    const [first, last] = [place(trial.ticks, start), place(trial.ticks, stop)];
    if (last > first) svg.append(shape("rect", { x: first, y, width: last - first, height, class: name }));
  }
}

export function drawPlot(svg, trial) {
  const n = trial.ticks.length;
  clear(svg, n, 100);
  const rewards = trial.rewards.map((reward) => reward ?? 0);
  const low = rewards.reduce((least, each) => Math.min(least, each), 0);
  const high = rewards.reduce((most, each) => Math.max(most, each), 0);
  const y = (value) => 95 - (90 * (value - low)) / (high - low || 1);
  svg.append(shape("line", { x1: 0, x2: n, y1: y(0), y2: y(0), class: "zero" }));
  const stride = Math.max(1, Math.ceil(n / MOST_POINTS));
  const points = [];
  for (let start = 0; start < n; start += stride) {
    const part = rewards.slice(start, start + stride); // its extremes: a rare large reward stays visible
    points.push(`${start + 0.5},${y(Math.min(...part))}`, `${start + 0.5},${y(Math.max(...part))}`);
  }
  svg.append(shape("polyline", { points: points.join(" "), class: "curve" }));
  for (const { tick, value, source } of trial.feedback) {
    const x = place(trial.ticks, tick) + 0.5;
    if (x > n) continue;
    const mark = shape("line", { x1: x, x2: x, y1: 50, y2: 50 - 45 * Math.max(-1, Math.min(1, value)), class: value >= 0 ? "praise" : "scolding" });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${source}: ${value}`;
    mark.append(title);
    svg.append(mark);
  }
}

export function moveCursor(svgs, index, n) {
  for (const svg of svgs) {
    svg.querySelector(".cursor")?.remove();
    if (n) svg.append(shape("line", { x1: index + 0.5, x2: index + 0.5, y1: 0, y2: 200, class: "cursor" }));
  }
}

export function tickAt(event, n) {
  const box = event.currentTarget.getBoundingClientRect();
  return Math.floor((n * (event.clientX - box.left)) / box.width);
}
