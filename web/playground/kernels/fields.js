// The form of an op's settings: a field for each, with its default and its documentation.

import { $, element } from "../lib/dom.js";

/** Fields that are shown at once; the others are folded. */
const FIRST = 6;

function control({ name, kind, choices = [], value }) {
  const id = `set-${name}`;
  const about = { describedby: `${id}-help` };
  if (kind === "number") return element("input", { id, type: "text", inputMode: "decimal", placeholder: value, autocomplete: "off", aria: about });
  const words = kind === "flag" ? ["true", "false"] : choices;
  const options = [["", `default: ${value}`], ...words.map((word) => [word, word])];
  return element("select", { id, aria: about }, ...options.map(([word, text]) => element("option", { value: word, textContent: text })));
}

/** Returns a documentation with its names in backticks as code. */
const words = (doc) => doc.split("`").map((text, i) => (i % 2 === 0 ? text : element("code", { textContent: text })));

function row(field, changed) {
  const { name, letter, doc } = field;
  const input = control(field);
  input.addEventListener("change", changed);
  const label = element("label", { htmlFor: input.id }, element("code", { textContent: name }), letter ? ` (${letter})` : "");
  return element("div", { className: "field" }, label, input, element("p", { id: `${input.id}-help`, className: "quiet" }, ...words(doc)));
}

/** Shows the fields of an op. `set` are settings by name or letter; unknown ones are returned. */
export function show({ summary, fields }, set, changed) {
  $("summary").replaceChildren(...words(summary));
  const rows = fields.map((field) => row(field, changed));
  $("fields").replaceChildren(...rows.slice(0, FIRST));
  $("more-fields").replaceChildren(...rows.slice(FIRST));
  $("more").hidden = rows.length <= FIRST;
  const unknown = {};
  for (const [key, value] of Object.entries(set)) {
    const field = fields.find(({ name, letter }) => name === key || letter === key);
    if (!field) unknown[key] = value;
    else {
      $(`set-${field.name}`).value = value;
      if (fields.indexOf(field) >= FIRST) $("more").open = true;
    }
  }
  return unknown;
}

/** Returns the settings that are not left at their defaults. */
export function read({ fields }) {
  const set = fields.map(({ name }) => [name, $(`set-${name}`).value.trim()]).filter(([, value]) => value !== "");
  return Object.fromEntries(set);
}
