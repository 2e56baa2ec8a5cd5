// The profile of a model, as tables with bars.

import { element } from "../lib/dom.js";
import { count, duration, size } from "../lib/format.js";

const cell = (textContent) => element("td", { textContent });

/** Returns a table cell with a bar; `share` is the width of the bar, 0 to 1. */
function bar(textContent, share) {
  const td = element("td", { textContent, className: "bar" });
  td.style.setProperty("--share", share);
  return td;
}

function row({ op, seconds, share, bytes }, tokens, most) {
  const head = element("th", { textContent: op, scope: "row" });
  const rate = seconds > 0 ? (bytes / seconds / 1e9).toPrecision(3) : "—";
  const time = cell(duration((1000 * seconds) / tokens));
  return element("tr", {}, head, bar(`${(100 * share).toFixed(1)} %`, share), time, bar(size(bytes / tokens), bytes / most), cell(rate));
}

/** Returns the table of one phase. */
function table(title, { tokens, ops }) {
  const all = element("table", {}, element("caption", { textContent: title }));
  const heads = ["Op", "Share", "Time", "Bytes", "GB/s"].map((textContent) => element("th", { textContent, scope: "col" }));
  all.createTHead().append(element("tr", {}, ...heads));
  const most = Math.max(1, ...ops.map(({ bytes }) => bytes));
  all.createTBody().append(...ops.map((op) => row(op, tokens, most)));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: title }, all);
}

/** Draws a profile into `place`. */
export function drawProfile(place, { prefill, decode }) {
  const phases = [
    ["Prefill", prefill],
    ["Decode", decode],
  ];
  const shown = phases.filter(([, { ops }]) => ops.length > 0);
  const title = (name, { tokens, ops }) => {
    const seconds = ops.reduce((sum, op) => sum + op.seconds, 0);
    return `${name}, ${count(tokens, "token")}: ${duration(1000 * seconds)}`;
  };
  place.replaceChildren(...shown.map(([name, phase]) => table(title(name, phase), phase)));
}
