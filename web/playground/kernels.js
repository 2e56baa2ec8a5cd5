import { device } from "../dist/index.js";
import { curve, SERIES } from "./curve.js";
import { range, sweep, timed } from "./sweep.js";

const $ = (id) => document.getElementById(id);

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

/** Parses settings such as `T=64, causal=true`. */
function settings(text) {
  const pairs = text.split(",").filter((pair) => pair.trim());
  return Object.fromEntries(pairs.map((pair) => pair.split("=").map((word) => word.trim())));
}

/** Returns the largest difference between outputs, divided by the root mean square of the expected output. */
function distance(got, want) {
  let worst = 0;
  for (const [name, { data }] of Object.entries(want)) {
    if (!(data instanceof Float32Array)) {
      if (data.some((x, i) => x !== got[name].data[i])) return Infinity;
      continue;
    }
    const rms = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length) || 1;
    data.forEach((x, i) => {
      const error = Math.abs(x - got[name].data[i]) / rms;
      if (error > worst || Number.isNaN(error)) worst = Number.isNaN(error) && Object.is(x, got[name].data[i]) ? worst : error;
    });
  }
  return worst;
}

function row(label) {
  const tr = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = label;
  tr.append(head, ...["…", "", ""].map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  $("results").append(tr);
  return (time, error, name) => [time, error, name].forEach((text, i) => (tr.children[i + 1].textContent = text));
}

function argument({ name, dtype, shape, access }) {
  const li = document.createElement("li");
  li.append(Object.assign(document.createElement("code"), { textContent: name }));
  li.append(` ${dtype} [${shape.join(", ")}], ${access === "read" ? "input" : access === "write" ? "output" : "input and output"}`);
  return li;
}

let running = false;

async function run() {
  const [op, set] = [$("op").value, settings($("settings").value)];
  $("error").hidden = true;
  running = true;
  update();
  $("results").replaceChildren();
  try {
    const exact = await open("reference");
    $("args").replaceChildren(...(await exact.arguments(op, set)).map(argument));
    const inputs = await exact.inputs(op, set);
    let want;
    for (const [kind, label] of KINDS) {
      const tell = row(label);
      try {
        const executor = await open(kind);
        const { outputs, ms } = await timed(executor[op], set, inputs, EFFORT);
        want ??= outputs;
        tell(`${ms.toPrecision(3)} ms`, kind === "reference" ? "—" : distance(outputs, want).toExponential(1), executor.name);
      } catch (error) {
        if (kind === "reference") throw error;
        tell("—", "—", error.message);
      }
    }
  } catch (error) {
    $("results").replaceChildren();
    $("error").textContent = `${error.message} (${error.code})`;
    $("error").hidden = false;
  } finally {
    running = false;
    update();
  }
}

let shown;
let measuring;

async function measure() {
  const [op, set, seconds] = [$("op").value, settings($("settings").value), $("budget").valueAsNumber || 30];
  $("sweep-error").hidden = true;
  const mine = new AbortController();
  const { signal } = mine;
  try {
    const { name, lengths } = range($("lengths").value);
    measuring = mine;
    update();
    const exact = await open("reference");
    // Throws for a wrong setting before anything is drawn.
    await exact.arguments(op, { ...set, [name]: lengths[0] });
    const [executors, none] = [[], []];
    for (const [kind, label] of SERIES) {
      await open(kind).then(
        (executor) => executors.push([kind, executor]),
        ({ message }) => none.push(`${label}: ${message}`),
      );
    }
    shown?.close();
    shown = curve(op, name, lengths);
    $("sweep-state").textContent = "Measuring…";
    const cut = await sweep({ op, settings: set, name, lengths, seconds, signal }, exact, executors, shown.point);
    const left = SERIES.filter(([kind]) => cut.has(kind)).map(([, label]) => `${label}: longer lengths exceed the time limit`);
    $("sweep-state").textContent = ["Done", ...shown.said(), ...left, ...none].join("; ");
  } catch (error) {
    if (signal.aborted) $("sweep-state").textContent = ["Stopped", ...(shown?.said() ?? [])].join("; ");
    else {
      $("sweep-state").textContent = "";
      $("sweep-error").textContent = error.code ? `${error.message} (${error.code})` : error.message;
      $("sweep-error").hidden = false;
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
  $("measure").disabled = busy;
  $("measure").hidden = Boolean(measuring);
  $("halt").hidden = !measuring;
  // Measure and Stop replace each other, and the focus moves along.
  const [now, before] = measuring ? ["halt", "measure"] : ["measure", "halt"];
  if (focused === $(before)) $(now).focus();
}

$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("sweep").addEventListener("submit", (event) => {
  event.preventDefault();
  measure();
});
$("halt").addEventListener("click", () => measuring?.abort());

const { ops } = await open("reference");
$("op").append(...ops.map((op) => new Option(op)));
$("op").value = "attention";
update();
