// The kernels page: runs one op on each executor, and times it over a range of lengths.

import { device } from "foveate";
import { $, copy, described, element } from "../lib/dom.js";
import { duration, size } from "../lib/format.js";
import { curve, SERIES } from "./curve.js";
import { distance, said } from "./distance.js";
import * as form from "./fields.js";
import { metadata } from "./metadata.js";
import * as plan from "./plan.js";
import { range, sweep, timed } from "./sweep.js";

const KINDS = [
  ["reference", "Reference"],
  ["cpu", "CPU"],
  ["gpu", "WebGPU"],
];
/** Number of timed runs, and the time in ms after which no further run starts. */
const EFFORT = { least: 1, runs: 9, patience: 1500 };

const devices = new Map();

/** Returns the device of a kind, opened at its first use. The promise is rejected if there is none. */
function open(kind) {
  if (!devices.has(kind)) devices.set(kind, device(kind, { exact: false }));
  return devices.get(kind);
}

let about;
const op = () => $("op").value;
const settings = () => form.read(about(op()));

function fail(place, error) {
  place.textContent = error ? described(error) : "";
  place.hidden = !error;
}

function row(label) {
  const cells = ["…", "", ""].map((textContent) => element("td", { textContent }));
  $("results").append(element("tr", {}, element("th", { scope: "row", textContent: label }), ...cells));
  return (...texts) => texts.forEach((text, i) => (cells[i].textContent = text));
}

const ACCESS = { read: "input", write: "output", both: "input and output" };

function argument({ name, dtype, shape, access, bytes }) {
  return element("li", {}, element("code", { textContent: name }), ` ${dtype} [${shape.join(", ")}], ${size(bytes)}, ${ACCESS[access]}`);
}

let running = false;

/** Shows the results, or what to do for some. */
function results(shown) {
  $("compared").hidden = !shown;
  $("nothing").hidden = shown;
}

async function run() {
  const [name, set] = [op(), settings()];
  fail($("error"));
  running = true;
  update();
  $("results").replaceChildren();
  results(true);
  try {
    const exact = await open("reference");
    $("args").replaceChildren(...(await exact.arguments(name, set)).map(argument));
    const inputs = await exact.inputs(name, set);
    let want;
    for (const [kind, label] of KINDS) {
      const tell = row(label);
      try {
        const executor = await open(kind);
        const { outputs, ms } = await timed(executor[name], set, inputs, EFFORT);
        want ??= outputs;
        tell(duration(ms), kind === "reference" ? "—" : said(distance(outputs, want)), executor.name);
      } catch (error) {
        if (kind === "reference") throw error;
        tell("—", "—", error.message);
      }
    }
  } catch (error) {
    results(false);
    fail($("error"), error);
  } finally {
    running = false;
    update();
  }
}

let shown;
let measuring;

async function measure() {
  const [of, set, seconds] = [op(), settings(), $("budget").valueAsNumber || 30];
  fail($("sweep-error"));
  const mine = new AbortController();
  const { signal } = mine;
  try {
    const { name, lengths } = range($("lengths").value);
    // The range replaces the setting, which may go by its name or its letter.
    const field = about(of).fields.find((field) => field.name === name || field.letter === name);
    delete set[field?.name ?? name];
    measuring = mine;
    update();
    const exact = await open("reference");
    // Throws for a wrong setting before anything is drawn.
    await exact.arguments(of, { ...set, [name]: lengths[0] });
    const [executors, none] = [[], []];
    for (const [kind, label] of SERIES) {
      await open(kind).then(
        (executor) => executors.push([kind, executor]),
        ({ message }) => none.push(`${label}: ${message}`),
      );
    }
    shown?.close();
    shown = curve(of, name, lengths);
    $("sweep-state").textContent = "Measuring…";
    const cut = await sweep({ op: of, settings: set, name, lengths, seconds, signal }, exact, executors, shown.point);
    const left = SERIES.filter(([kind]) => cut.has(kind)).map(([, label]) => `${label}: longer lengths exceed the time limit`);
    $("sweep-state").textContent = ["Done", ...shown.said(), ...left, ...none].join("; ");
  } catch (error) {
    if (signal.aborted) $("sweep-state").textContent = ["Stopped", ...(shown?.said() ?? [])].join("; ");
    else {
      $("sweep-state").textContent = "";
      fail($("sweep-error"), error);
    }
  } finally {
    measuring = undefined;
    update();
  }
}

/** Updates the buttons. Only one measurement runs at a time. */
function update() {
  const busy = Boolean(measuring) || running;
  const focused = document.activeElement;
  $("run").disabled = busy;
  $("run").textContent = running ? "Running…" : "Run";
  $("measure").disabled = busy;
  $("measure").hidden = Boolean(measuring);
  $("halt").hidden = !measuring;
  // Measure and Stop replace each other, and the focus moves along.
  const [now, before] = measuring ? ["halt", "measure"] : ["measure", "halt"];
  if (focused === $(before)) $(now).focus();
}

/** Puts op and settings into the address of the page, which can be shared. */
function address() {
  const query = new URLSearchParams({ op: op(), ...settings() });
  history.replaceState(undefined, "", `#${query}`);
}

/** Shows the plan of the op with its present settings. */
const planned = async () => plan.show(await open("reference"), op(), settings());

function changed() {
  address();
  return planned();
}

/** Shows the op and the settings of the address. */
function restore(ops) {
  const { op: asked = "attention", ...set } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  $("op").value = ops.includes(asked) ? asked : "attention";
  const unknown = form.show(about(op()), ops.includes(asked) ? set : {}, changed);
  const wrong = ops.includes(asked) ? Object.keys(unknown).map((name) => `${asked} has no setting ${name}`) : [`there is no op ${asked}`];
  fail($("error"), wrong.length > 0 ? new Error(`the link is not understood: ${wrong.join(", ")}`) : undefined);
  planned();
}

$("op").addEventListener("change", () => {
  form.show(about(op()), {}, changed);
  // Those of another op would be taken for its own.
  results(false);
  fail($("error"));
  changed();
});
$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  address();
  run();
});
$("share").addEventListener("click", () => {
  address();
  copy(location.href, $("share"));
});
$("sweep").addEventListener("submit", (event) => {
  event.preventDefault();
  measure();
});
$("halt").addEventListener("click", () => measuring?.abort());

try {
  const [{ ops }, found] = await Promise.all([open("reference"), metadata()]);
  about = found;
  $("op").append(...ops.map((name) => new Option(name)));
  restore(ops);
  addEventListener("hashchange", () => restore(ops));
  update();
} catch (error) {
  fail($("error"), error);
}
