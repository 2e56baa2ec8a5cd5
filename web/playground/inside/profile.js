// The profile of a model, as tables with bars.

import { duration, size } from "../lib/format.js";

function cell(name, textContent, className = "") {
  return Object.assign(document.createElement(name), { textContent, className });
}

/** Returns a table cell with a bar; `share` is the width of the bar, 0 to 1. */
function bar(text, share) {
  const td = cell("td", text, "bar");
  td.style.setProperty("--share", share);
  return td;
}

function row({ op, seconds, share, bytes }, tokens, most) {
  const tr = document.createElement("tr");
  const head = cell("th", op);
  head.scope = "row";
  const rate = seconds > 0 ? (bytes / seconds / 1e9).toPrecision(3) : "—";
  const time = cell("td", duration((1000 * seconds) / tokens));
  tr.append(head, bar(`${(100 * share).toFixed(1)} %`, share), time, bar(size(bytes / tokens), bytes / most), cell("td", rate));
  return tr;
}

/** Returns the table of one phase. */
function table(title, { tokens, ops }) {
  const all = document.createElement("table");
  all.append(cell("caption", title));
  const heads = ["Op", "Share", "Time", "Bytes", "GB/s"].map((name) => Object.assign(cell("th", name), { scope: "col" }));
  const head = document.createElement("tr");
  head.append(...heads);
  all.createTHead().append(head);
  const most = Math.max(1, ...ops.map(({ bytes }) => bytes));
  all.createTBody().append(...ops.map((op) => row(op, tokens, most)));
  const region = cell("div", "", "scroll");
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", title);
  region.append(all);
  return region;
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
    return `${name}, ${tokens === 1 ? "1 token" : `${tokens} tokens`}: ${duration(1000 * seconds)}`;
  };
  place.replaceChildren(...shown.map(([name, phase]) => table(title(name, phase), phase)));
}
