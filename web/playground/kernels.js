import { device } from "../dist/index.js";

const $ = (id) => document.getElementById(id);

const KINDS = [
  ["reference", "definition"],
  ["cpu", "processor"],
  ["gpu", "WebGPU"],
];
/** Runs that are timed at most, and the time after which there are no more, in ms. */
const RUNS = 9;
const PATIENCE = 1500;

const devices = new Map();

/** One device of each kind, opened when it is first used; the reason where there is none. */
function open(kind) {
  if (!devices.has(kind)) devices.set(kind, device(kind));
  return devices.get(kind);
}

/** `T=64, causal=true` as an object. */
function settings(text) {
  const pairs = text.split(",").filter((pair) => pair.trim());
  return Object.fromEntries(pairs.map((pair) => pair.split("=").map((word) => word.trim())));
}

/** The largest distance between outputs, relative to the size of what is wanted. */
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

async function timed(kernel, set, inputs) {
  const began = performance.now();
  let outputs = await kernel(set, inputs);
  const times = [performance.now() - began];
  while (times.length < RUNS && performance.now() - began < PATIENCE) {
    const start = performance.now();
    outputs = await kernel(set, inputs);
    times.push(performance.now() - start);
  }
  // The first run compiles.
  const later = times.slice(times.length > 1 ? 1 : 0).sort((a, b) => a - b);
  return { outputs, ms: later[later.length >> 1] };
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
  li.append(` ${dtype} [${shape.join(", ")}], ${access === "read" ? "read" : access === "write" ? "written" : "read and written"}`);
  return li;
}

async function run() {
  const [op, set] = [$("op").value, settings($("settings").value)];
  $("error").hidden = true;
  $("run").disabled = true;
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
        const { outputs, ms } = await timed(executor[op], set, inputs);
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
    $("run").disabled = false;
  }
}

$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});

const { ops } = await open("reference");
$("op").append(...ops.map((op) => new Option(op)));
$("op").value = "attention";
$("run").disabled = false;
