// Settings of answers and of the page, in a drawer. They are kept in this browser.

import { $, button, element } from "./lib/dom.js";
import { keep, kept } from "./lib/storage.js";

/** Fields in order. `load` marks those that count when a model is loaded. */
const FIELDS = [
  { name: "system", label: "System prompt", type: "text", value: "", help: "Instructions that every new chat begins with.", placeholder: "You are a helpful assistant." },
  { name: "maxTokens", label: "Max tokens", min: 1, max: 8192, step: 1, value: 512, help: "Length at which an answer is cut off. It can be continued." },
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1, value: 0.7, help: "0 always takes the most likely token; higher values vary more." },
  { name: "topP", label: "Top-p", min: 0.05, max: 1, step: 0.05, value: 0.95, help: "Samples from the most likely tokens that have this probability together." },
  { name: "topK", label: "Top-k", min: 0, max: 1000, step: 1, value: 0, help: "Samples from this many tokens; 0 sets no limit." },
  { name: "minP", label: "Min-p", min: 0, max: 1, step: 0.01, value: 0, help: "Drops tokens below this share of the most likely one." },
  { name: "repetitionPenalty", label: "Repetition penalty", min: 1, max: 2, step: 0.05, value: 1, help: "1 is none." },
  { name: "seed", label: "Seed", min: 0, max: 4294967295, step: 1, value: "", optional: true, help: "Repeats an answer. Empty: a new one each time." },
  { name: "stop", label: "Stop sequences", type: "text", value: "", help: "Texts that end an answer, one per line." },
  { name: "thinking", label: "Thinking", type: "check", value: true, help: "Lets a reasoning model think before it answers.", when: "thinks" },
  { name: "probabilities", label: "Show token probabilities", type: "check", value: false, help: "Shades each token of new answers by its probability. Slower." },
  { name: "device", label: "Device", type: "select", value: "auto", load: true, help: "Auto takes WebGPU if there is a hardware GPU.", options: [["auto", "Auto"], ["gpu", "WebGPU"], ["cpu", "CPU"]] },
  { name: "context", label: "Context length", min: 256, max: 131072, step: 256, value: 2048, load: true, help: "Tokens that a chat can hold. Longer needs more memory." },
  { name: "theme", label: "Colours", type: "select", value: "system", help: "", options: [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]] },
];

const DEFAULTS = Object.fromEntries(FIELDS.map(({ name, value }) => [name, value]));

/** The present settings. */
export const settings = { ...DEFAULTS, ...kept("settings", {}) };

/** Options of an answer. */
export function answerOptions() {
  const { maxTokens, temperature, topP, topK, minP, repetitionPenalty, seed, stop, probabilities } = settings;
  const stops = stop.split("\n").filter(Boolean);
  return {
    ...{ maxTokens, temperature, topP, topK, minP, repetitionPenalty },
    seed: seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : seed,
    ...(stops.length > 0 ? { stop: stops } : {}),
    ...(probabilities ? { logprobs: 5 } : {}),
  };
}

/** Returns the number in a field within its range, or `undefined` if there is none. */
function number(input, { min, max, step, optional, value }) {
  if (optional && input.value === "") return "";
  const typed = input.valueAsNumber;
  if (!Number.isFinite(typed)) return value;
  const within = Math.min(max, Math.max(min, typed));
  return step === 1 ? Math.round(within) : within;
}

function control(field) {
  const { name, type, options = [], placeholder = "" } = field;
  const id = `set-${name}`;
  const about = field.help ? { describedby: `${id}-help` } : {};
  if (type === "select") {
    return element("select", { id, aria: about }, ...options.map(([value, text]) => element("option", { value, textContent: text })));
  }
  if (type === "text") return element("textarea", { id, rows: 2, placeholder, dir: "auto", aria: about });
  if (type === "check") return element("input", { id, type: "checkbox", aria: about });
  const { min, max, step, optional } = field;
  return element("input", { id, type: "number", min, max, step, placeholder: optional ? "random" : "", aria: about });
}

function show({ name, type }) {
  const input = $(`set-${name}`);
  if (type === "check") input.checked = settings[name];
  else input.value = settings[name];
}

function read(field) {
  const input = $(`set-${field.name}`);
  if (field.type === "check") return input.checked;
  return field.type ? input.value : number(input, field);
}

function apply() {
  const { theme } = settings;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Shows the fields that mean something for a model: `thinks` if its template knows `enable_thinking`. */
export function fit(has) {
  for (const { name, when } of FIELDS) if (when) $(`set-${name}`).closest(".field").hidden = !has[when];
}

/** Builds the drawer. `changed(field)` is called for every change. */
export function build(changed) {
  const rows = FIELDS.map((field) => {
    const { name, label, help, type } = field;
    const text = element("label", { htmlFor: `set-${name}`, textContent: label });
    const parts = type === "check" ? [element("span", { className: "check" }, control(field), text)] : [text, control(field)];
    if (help) parts.push(element("p", { id: `set-${name}-help`, className: "quiet", textContent: field.load ? `${help} Takes effect when a model is loaded.` : help }));
    return element("div", { className: `field ${type ?? "number"}` }, ...parts);
  });
  const reset = button("Reset to defaults", () => {
    Object.assign(settings, DEFAULTS);
    FIELDS.forEach(show);
    store();
  });
  $("settings-form").replaceChildren(...rows, element("div", { className: "row" }, reset));
  const store = (field) => {
    keep("settings", settings);
    apply();
    changed(field);
  };
  for (const field of FIELDS) {
    show(field);
    $(`set-${field.name}`).addEventListener("change", () => {
      settings[field.name] = read(field);
      show(field);
      store(field);
    });
  }
  fit({});
}
