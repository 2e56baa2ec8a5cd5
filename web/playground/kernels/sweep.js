// Times an op over a range of lengths, on each executor in turn.

/** Number of timed runs per point, and the time in ms after which no further run starts. Compile time is left out. */
const EFFORT = { least: 2, runs: 7, patience: 400 };
/** Maximum number of lengths of a sweep. */
const MOST = 24;

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

/**
 * Runs `kernel` at least `least` times, then up to `runs` times within `patience` ms. Returns its outputs and the median
 * time in ms. The first run compiles the kernel, and counts only if it is the only one.
 */
export async function timed(kernel, settings, inputs, { least, runs, patience }) {
  const began = performance.now();
  let outputs = await kernel(settings, inputs);
  const times = [performance.now() - began];
  while (times.length < least || (times.length < runs && performance.now() - began < patience)) {
    const start = performance.now();
    outputs = await kernel(settings, inputs);
    times.push(performance.now() - start);
  }
  return { outputs, ms: median(times.slice(times.length > 1 ? 1 : 0)) };
}

/** Parses a range like `foveate bench --sweep`: `T=64..2048`, or with the factor between lengths `T=64..2048:4`. */
export function range(text) {
  const [, name, from, to, factor = 2] = /^\s*(\w+)\s*=\s*(\d+)\.\.(\d+)(?::(\d+))?\s*$/.exec(text) ?? [];
  const lengths = [];
  if (from >= 1 && factor >= 2) {
    for (let length = Number(from); length <= Number(to) && lengths.length < MOST; length *= factor) lengths.push(length);
  }
  if (lengths.length < 2) {
    throw new RangeError(`lengths must be NAME=FROM..TO or NAME=FROM..TO:FACTOR with at least two lengths, got ${text}`);
  }
  return { name, lengths };
}

/**
 * Measures `op` at every length on each of `executors`, `[kind, executor]`, with inputs from `exact`. Calls
 * `done(kind, length, ms)` for every point. If an executor's last two lengths predict that the next one would exceed
 * `seconds`, the executor skips the remaining lengths. Returns the kinds that skipped any.
 */
export async function sweep({ op, settings, name, lengths, seconds, signal }, exact, executors, done) {
  const end = performance.now() + 1000 * seconds;
  const cut = new Set();
  const spent = new Map();
  for (const length of lengths) {
    for (const [kind, executor] of executors) {
      const [before = 0, last = 0] = spent.get(kind) ?? [];
      const growth = before > 0 ? Math.max(1, last / before) : 1;
      if (performance.now() + last * growth > end) cut.add(kind);
      if (cut.has(kind)) continue;
      const set = { ...settings, [name]: length, signal };
      const tensors = await exact.inputs(op, { ...settings, [name]: length });
      const began = performance.now();
      const { ms } = await timed(executor[op], set, tensors, EFFORT);
      signal.throwIfAborted();
      spent.set(kind, [last, performance.now() - began]);
      done(kind, length, ms);
    }
  }
  return cut;
}
