// Charts of time by length, with logarithmic axes, as SVG; and power laws fitted to the points.

import { duration } from "../lib/format.js";

/** Fits `y = c x^exponent` by least squares over the logarithms, like `foveate bench`. Needs two points. */
export function fit(points) {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const mean = (axis) => logs.reduce((sum, p) => sum + p[axis], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const sum = (f) => logs.reduce((all, [x, y]) => all + f(x - mx, y - my), 0);
  const exponent = sum((x, y) => x * y) / sum((x) => x * x);
  return logs.length > 1 && Number.isFinite(exponent) ? { exponent, factor: Math.exp(my - exponent * mx) } : undefined;
}

/** Margins for the labels of the axes. */
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 16, 12, 44];
const HEIGHT = 300;

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Maps `from` to `to`, logarithmically, onto `start` to `end`. */
function scale(from, to, start, end) {
  const [a, b] = [Math.log(from), Math.log(to)];
  return (x) => start + ((Math.log(x) - a) / (b - a || 1)) * (end - start);
}

/** A shape for each series, so that colour is not the only difference. */
const MARKS = {
  round: (x, y) => svg("circle", { cx: x, cy: y, r: 4.5 }),
  square: (x, y) => svg("rect", { x: x - 4, y: y - 4, width: 8, height: 8 }),
};

/**
 * Draws `series`, each `{ kind, mark, points: [[length, ms]] }`, into the element `place`. `lengths` are all lengths of the
 * sweep; `name` labels their axis.
 */
export function draw(place, name, lengths, series) {
  const width = Math.max(place.clientWidth, 240);
  const times = series.flatMap(({ points }) => points.map(([, ms]) => ms));
  const decades = times.length > 0 ? [Math.min(...times), Math.max(...times)].map(Math.log10) : [0, 1];
  const [low, high] = [Math.floor(decades[0]), Math.max(Math.ceil(decades[1]), Math.floor(decades[0]) + 1)];
  const x = scale(lengths[0], lengths.at(-1), LEFT + 8, width - RIGHT - 8);
  const y = scale(10 ** low, 10 ** high, HEIGHT - BOTTOM, TOP);
  const all = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true" });
  for (let decade = low; decade <= high; decade++) {
    const at = y(10 ** decade);
    all.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
    all.append(svg("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, duration(10 ** decade)));
  }
  // Labels only as many lengths as fit.
  const every = Math.ceil((lengths.length * 52) / (width - LEFT - RIGHT));
  for (const [i, length] of lengths.entries()) {
    all.append(svg("line", { class: "grid", x1: x(length), x2: x(length), y1: TOP, y2: HEIGHT - BOTTOM }));
    if (i % every === 0) all.append(svg("text", { x: x(length), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, length));
  }
  all.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, name));
  for (const { kind, mark, points } of series) {
    const group = svg("g", { class: `series ${kind}` });
    const line = fit(points);
    if (line) {
      const [from, to] = [points[0][0], points.at(-1)[0]];
      const end = (length) => ({ x: x(length), y: y(line.factor * length ** line.exponent) });
      const [a, b] = [end(from), end(to)];
      group.append(svg("line", { class: "fit", x1: a.x, y1: a.y, x2: b.x, y2: b.y }));
    }
    for (const [length, ms] of points) {
      const point = MARKS[mark](x(length), y(ms));
      point.append(svg("title", {}, `${name} = ${length}: ${duration(ms)}`));
      group.append(point);
    }
    all.append(group);
  }
  place.replaceChildren(all);
}
