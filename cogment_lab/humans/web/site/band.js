// Two small drawings: who acted when, and how the returns go.

const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

function prepare(canvas) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== width * scale) canvas.width = width * scale;
  if (canvas.height !== height * scale) canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** @param {[number, string, string][]} band runs of [first tick, phase, by] */
export function drawBand(canvas, band, now) {
  const { context, width, height } = prepare(canvas);
  if (!band?.length || now < 1) return;
  const start = band[0][0], ticks = Math.max(now - start, 60);
  band.forEach(([first, phase, by], index) => {
    const last = index + 1 < band.length ? band[index + 1][0] : now;
    const left = ((first - start) / ticks) * width, right = ((last - start) / ticks) * width;
    context.fillStyle = colour(by === "fallback" ? "--offline" : by === "teacher" ? "--you" : phase === "paused" ? "--paused" : "--agent");
    context.globalAlpha = by === "player" && phase !== "paused" ? 0.55 : 1;
    context.fillRect(left, 0, Math.max(right - left, 2), height);
    if (by === "teacher" && right - left > 34) {
      context.fillStyle = "#1b1200";
      context.font = "600 11px system-ui, sans-serif";
      context.fillText("YOU", left + 6, height / 2 + 4);
    }
  });
  context.globalAlpha = 1;
}

/** @param {number[]} returns oldest first */
export function drawSpark(canvas, returns) {
  const { context, width, height } = prepare(canvas);
  const values = (returns ?? []).slice(-40);
  if (!values.length) return;
  const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
  const step = width / Math.max(values.length, 20), bar = Math.max(step - 2, 1);
  values.forEach((value, index) => {
    const size = 4 + ((value - low) / range) * (height - 6);
    context.fillStyle = colour("--agent");
    context.globalAlpha = 0.35 + (0.65 * (index + 1)) / values.length;
    context.fillRect(index * step, height - size, bar, size);
  });
  context.globalAlpha = 1;
}
