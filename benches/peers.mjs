// Runs ours and theirs in turn, and prints how many times faster we are.
//
// usage: node benches/peers.mjs [--pairs N] [--json FILE] [GROUP...]     groups: llama files torch cpu-web gpu-web burn
//
// A pair is one run of ours and one of theirs, one right after the other; the ratio is the median over the pairs, above
// 1 where ours is faster. Every run gives its best figure, as the peers' own scripts do. What is not installed is said
// and left out, what fails as well.
//
// PEERS      folder with the peers' scripts and their node_modules     ../shared/peers
// PYTHON     a Python with torch, transformers, routing-transformer    python3
// ONNX       what smollm2_onnx.py exported                             $PEERS/onnx
// BURN       the program built from burn/                              $PEERS/burn/target/release/burn-peer
// FOVEATE    ours                                                      target/release/foveate
// MODEL      SmolLM2-135M-Instruct.Q4_1.gguf                           target/models/...
// FILES      folder of GGUF files for the group `files`: real ones, or what ../shared/models/synthesize.py writes
// web/ holds the built package (npm run build).

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const {
  PEERS = join(root, "../shared/peers"),
  PYTHON = "python3",
  ONNX = join(PEERS, "onnx"),
  BURN = join(PEERS, "burn/target/release/burn-peer"),
  FOVEATE = join(root, "target/release/foveate"),
  MODEL = join(root, "target/models/SmolLM2-135M-Instruct.Q4_1.gguf"),
  FILES = "",
} = process.env;

/** A program's lines of JSON. */
function run(command, args, { cwd = root, env = {} } = {}) {
  const options = { cwd, env: { ...process.env, ...env }, encoding: "utf8", timeout: 15 * 60_000, maxBuffer: 1 << 26 };
  const out = execFileSync(command, args.map(String), { ...options, stdio: ["ignore", "pipe", "pipe"] });
  return out.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

const script = (name, ...args) => run(process.execPath, [join(PEERS, name), ...args], { cwd: PEERS });
const has = (path, what) => (existsSync(path) ? [] : [`${what} is not at ${path}`]);
const module = (name) => has(join(PEERS, "node_modules", name), `the npm package ${name}`);

/** Best milliseconds of an op of ours. */
function op(name, settings, device, env) {
  const args = ["bench", name, "--set", settings, "--json", "--runs", 5, "--seconds", 1, ...device];
  return run(FOVEATE, args, { env })[0].ops[0].seconds.min * 1e3;
}

const CPU = ["--device", "cpu", "--threads", 2];

function ourModel(model = MODEL, tokens = 64) {
  const args = ["bench", "--model", model, "--contexts", 512, "--tokens", tokens, "--runs", 3, "--json", ...CPU];
  const { prefill, decode } = run(FOVEATE, args)[0].speeds[0];
  return { prefill: prefill.max, decode: decode.max };
}

const files = FILES && existsSync(FILES) ? readdirSync(FILES).filter((file) => file.endsWith(".gguf")).sort() : [];

/** The figures of each file, under `prefill FILE` and `decode FILE`. */
function eachFile(figures) {
  const all = files.map((file) => {
    const { prefill, decode } = figures(join(FILES, file));
    return { [`prefill ${file}`]: prefill, [`decode ${file}`]: decode };
  });
  return Object.assign({}, ...all);
}

/** Prefill and the best step of llama.cpp with a cache in f16, from the line of text that its script prints. */
function llamaFile(file) {
  const args = [join(PEERS, "llama_cpp_any.mjs"), "ctx", file, "f16", "512", "32"];
  const out = execFileSync(process.execPath, args, { cwd: PEERS, encoding: "utf8", timeout: 15 * 60_000 });
  const figure = (pattern) => Number(out.match(pattern)?.[1] ?? Number.NaN);
  return { prefill: figure(/prefill ([\d.]+)/), decode: figure(/best ([\d.]+)/) };
}

const rates = ({ prefill_tok_s, decode_tok_s }) => ({ prefill: prefill_tok_s, decode: decode_tok_s });
const ourWeb = (device) => rates(run(process.execPath, [join(root, "benches/chromium.mjs"), MODEL, device])[0]);
const ort = (provider) => rates(script("ort_web.mjs", ONNX, provider, 1, 230)[0]);
const noOrt = () => [...module("onnxruntime-web"), ...has(join(ONNX, "model.onnx"), "the exported model")];

function wllama() {
  const { runs } = script("wllama.mjs", MODEL, 0, 1)[0];
  // 25 sentences of ten tokens, and two more.
  const best = (of) => Math.max(...runs.map(of));
  return { prefill: best((r) => 252e3 / r.first_token_ms), decode: best((r) => r.decode_tok_s) };
}

/** The better one of what is installed, for each figure. */
function bestWeb() {
  const all = [module("@wllama/wllama").length ? {} : wllama(), noOrt().length ? {} : ort("wasm")];
  const best = (key) => Math.max(...all.map((one) => one[key] ?? 0));
  return { prefill: best("prefill"), decode: best("decode") };
}

function torch() {
  const rows = run(PYTHON, [join(PEERS, "torch_ops.py"), "--threads", 2]);
  const ms = (op, T) => rows.find((row) => row.op === op && row.T === T).ms;
  return {
    matmul: ms("matmul f32 1024^3", 1024),
    attention1024: ms("attention causal", 1024),
    attention4096: ms("attention causal", 4096),
    decode: ms("attention decode", 4096),
  };
}

function noTorch() {
  try {
    run(PYTHON, ["-c", "import torch, transformers, routing_transformer"]);
    return has(join(PEERS, "torch_ops.py"), "the script");
  } catch {
    return [`${PYTHON} has no torch, transformers and routing-transformer`];
  }
}

function lavapipe() {
  const folder = "/usr/share/vulkan/icd.d";
  const name = existsSync(folder) && readdirSync(folder).find((file) => file.startsWith("lvp_icd"));
  return name ? { VK_ICD_FILENAMES: join(folder, name), NODEVICE_SELECT: "1" } : undefined;
}

/** Its time holds submitting and reading the result back, ours is the device's own: a difference that a GPU would show. */
function burn() {
  const rows = run(BURN, [], { env: lavapipe() });
  const ms = (op, T) => rows.find((row) => row.op === op && row.T === T).ms;
  return { matmul: ms("matmul f32 1024^3"), attention: ms("attention full", 1024) };
}

const cube = "T=1024,K=1024,N=1024";
const heads = "H=8,D=64";
const web = has(join(root, "web/dist/index.js"), "the built package");

const groups = {
  llama: {
    peer: "llama.cpp, 2 threads",
    unit: "tok/s",
    rows: { prefill: "SmolLM2 Q4_1, prefill of 512", decode: "SmolLM2 Q4_1, decode" },
    missing: () => [...module("node-llama-cpp"), ...has(MODEL, "the model")],
    ours: () => ourModel(),
    theirs: () => rates(script("llama_cpp.mjs", MODEL, 2)[0]),
  },
  files: {
    peer: "llama.cpp, 2 threads",
    unit: "tok/s",
    rows: eachFile((file) => ({ prefill: `prefill of 512, ${file}`, decode: `decode, ${file}` })),
    missing: () => [
      ...module("node-llama-cpp"),
      ...has(join(PEERS, "llama_cpp_any.mjs"), "the script"),
      ...(files.length ? [] : ["FILES names no folder with GGUF files"]),
    ],
    ours: () => eachFile((file) => ourModel(file, 32)),
    theirs: () => eachFile(llamaFile),
  },
  torch: {
    peer: "PyTorch, 2 threads",
    unit: "ms",
    rows: {
      matmul: "linear f32 1024^3",
      attention1024: `causal attention ${heads} T=1024`,
      attention4096: `causal attention ${heads} T=4096`,
      decode: `attention decode ${heads} S=4096`,
    },
    missing: noTorch,
    ours: () => ({
      matmul: op("linear", cube, CPU),
      attention1024: op("attention", `${heads},T=1024`, CPU),
      attention4096: op("attention", `${heads},T=4096`, CPU),
      decode: op("attention", `${heads},T=1,S=4096`, CPU),
    }),
    theirs: torch,
  },
  "cpu-web": {
    peer: "better of wllama and onnxruntime-web (wasm), 1 thread",
    unit: "tok/s",
    rows: { prefill: "Chromium CPU, SmolLM2 prefill", decode: "Chromium CPU, SmolLM2 decode" },
    missing: () => [...web, ...has(MODEL, "the model"), ...(module("@wllama/wllama").length ? noOrt() : [])],
    ours: () => ourWeb("cpu"),
    theirs: bestWeb,
  },
  "gpu-web": {
    peer: "onnxruntime-web (WebGPU on SwiftShader)",
    unit: "tok/s",
    rows: { prefill: "Chromium WebGPU, SmolLM2 prefill", decode: "Chromium WebGPU, SmolLM2 decode" },
    missing: () => [...web, ...has(MODEL, "the model"), ...noOrt()],
    ours: () => ourWeb("gpu"),
    theirs: () => ort("webgpu"),
  },
  burn: {
    peer: "burn on lavapipe",
    unit: "ms",
    rows: { matmul: "GPU linear f32 1024^3", attention: `GPU full attention ${heads} T=1024` },
    missing: () => [...has(BURN, "the program"), ...(lavapipe() ? [] : ["lavapipe is not installed"])],
    ours: () => ({
      matmul: op("linear", cube, ["--device", "gpu"], lavapipe()),
      attention: op("attention", `${heads},T=1024,causal=false`, ["--device", "gpu"], lavapipe()),
    }),
    theirs: burn,
  },
};

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** Rows of a group over `pairs` pairs, or why there are none. */
function compare({ peer, unit, rows, missing, ours, theirs }, pairs) {
  const lacks = [...has(FOVEATE, "our program (cargo build --release)"), ...missing()];
  if (lacks.length) throw new Error(lacks.join("; "));
  const taken = [];
  for (let i = 0; i < pairs; i++) {
    const load = loadavg()[0].toFixed(1);
    const [a, b] = [ours(), theirs()];
    taken.push([a, b]);
    const [mine, other] = [a, b].map((side) => JSON.stringify(side));
    console.error(`  pair ${i + 1} of ${pairs} (load before ${load}): ours ${mine} theirs ${other}`);
  }
  return Object.entries(rows).map(([key, name]) => {
    const ratio = ([a, b]) => (unit === "ms" ? b[key] / a[key] : a[key] / b[key]);
    const ratios = taken.map(ratio);
    const [mine, other] = [0, 1].map((side) => median(taken.map((pair) => pair[side][key])));
    return { name, peer, unit, ours: mine, theirs: other, ratio: median(ratios), ratios };
  });
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { pairs: { type: "string", default: "3" }, json: { type: "string" } },
});
const [pairs, unknown] = [Number(values.pairs), positionals.filter((name) => !(name in groups))];
if (!Number.isInteger(pairs) || pairs < 1 || unknown.length) {
  console.error(`--pairs takes a number from 1 on, groups are ${Object.keys(groups).join(" ")}`);
  process.exit(2);
}
const report = { machine: `${cpus().length} x ${cpus()[0].model}`, date: new Date().toISOString().slice(0, 10), load: loadavg()[0], pairs, rows: [] };
for (const [name, group] of Object.entries(groups)) {
  if (positionals.length && !positionals.includes(name)) continue;
  console.error(`${name}: ${group.peer}`);
  try {
    for (const row of compare(group, pairs)) {
      report.rows.push(row);
      const figures = `${row.ours.toPrecision(3)} against ${row.theirs.toPrecision(3)} ${row.unit}`;
      console.log(`${row.ratio.toFixed(2).padStart(6)}x  ${row.name}: ${figures} (${row.peer})`);
    }
  } catch (error) {
    // A failed program says why on its last line.
    const reason = `${error.stderr ?? ""}`.trim().split("\n").at(-1) || error.message.split("\n")[0];
    console.log(`     -  ${name}: left out: ${reason}`);
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}
