// The results of a sweep, as a chart and as a table.

import { $, element } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { draw, fit } from "./chart.js";

/** Executors of a sweep, with their labels and marks. */
export const SERIES = [
  ["cpu", "CPU", "round"],
  ["gpu", "WebGPU", "square"],
];

/** Shows an empty sweep. `point` adds a measurement, `said` returns the exponents in words. */
export function curve(op, name, lengths) {
  const series = SERIES.map(([kind, label, mark]) => ({ kind, label, mark, points: [] }));
  const of = (kind) => series.find((one) => one.kind === kind);
  const cells = new Map();
  /** Returns the fitted power of the length, if there are enough points. */
  const grows = (points) => {
    const line = fit(points);
    return line ? [`${name}^${line.exponent.toFixed(2)}`] : [];
  };
  const show = () => {
    draw($("chart"), `${name} of ${op}`, lengths, series);
    const growth = ({ kind, label, points }) => {
      const textContent = [label, ...grows(points).map((power) => `time grows as ${power}`)].join(": ");
      return element("li", { className: kind, textContent });
    };
    $("legend").replaceChildren(...series.map(growth));
  };
  $("length-name").textContent = name;
  $("points").replaceChildren();
  $("curve").hidden = false;
  show();
  addEventListener("resize", show);
  return {
    point(kind, length, ms) {
      of(kind).points.push([length, ms]);
      if (!cells.has(length)) {
        const head = element("th", { scope: "row", textContent: length });
        const tr = element("tr", {}, head, ...SERIES.map(() => element("td", { textContent: "—" })));
        $("points").append(tr);
        cells.set(length, tr);
      }
      cells.get(length).children[1 + series.indexOf(of(kind))].textContent = duration(ms);
      show();
    },
    said: () => series.flatMap(({ label, points }) => grows(points).map((power) => `${label} ${power}`)),
    close: () => removeEventListener("resize", show),
  };
}
