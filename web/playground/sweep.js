// An op over a range of lengths, on the processor and on WebGPU in turn.

/** Runs of a point, and the time after which there are no more, in ms: what compiling takes is in no point. */
const EFFORT = { least: 2, runs: 7, patience: 400 };
/** Lengths of a sweep, at most. */
const MOST = 24;

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

/**
 * `kernel` again and again, `least` times and then until there were `runs`, or for `patience` ms: what it gave, and the
 * median of its times in ms. The first run compiles, and counts only where it is alone.
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

/** `T=64..2048`, or with the factor between two lengths `T=64..2048:4`: the words of `foveate bench --sweep`. */
export function range(text) {
  const [, name, from, to, factor = 2] = /^\s*(\w+)\s*=\s*(\d+)\.\.(\d+)(?::(\d+))?\s*$/.exec(text) ?? [];
  const lengths = [];
  if (from >= 1 && factor >= 2) {
    for (let length = Number(from); length <= Number(to) && lengths.length < MOST; length *= factor) lengths.push(length);
  }
  if (lengths.length < 2) {
    throw new RangeError(`lengths must be NAME=FROM..TO or NAME=FROM..TO:FACTOR, with at least two of them; got ${text}`);
  }
  return { name, lengths };
}

/**
 * Measures `op` at every length on each of `executors`, `[kind, executor]`, over inputs from `exact`, telling
 * `done(kind, length, ms)` of every point. An executor that would not be ready with the next length within `seconds`, as far
 * as its last two tell, is left out from there on. Gives the kinds that have not measured every length.
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
