// The speed to expect from a model on this device: from its last answer, from other models' answers, or from a short
// measurement of a product with a stored weight, the op that most of an answer's time goes to.

import { device } from "foveate";
import { keep, kept } from "../lib/storage.js";

/** Sizes of the measured product: a layer of a model with a billion parameters. */
const [INPUTS, OUTPUTS] = [2048, 8192];
const ROUNDS = 20;
/** Share of a model's time per token that products take; the rest is attention, norms and sampling. */
const PRODUCTS = 0.7;
/** Resolution of the measurement in seconds. A GPU's product may take less. */
const LEAST = 2e-4;

/** Measures how many bytes of 4-bit weights the device multiplies in a second. */
async function measure() {
  const executor = await device("auto", { exact: false });
  try {
    const weight = { format: "q4_0", inputs: INPUTS, outputs: OUTPUTS };
    const product = { tokens: 1, ...weight };
    // An op with the same transfers and hardly any work.
    const lookup = { tokens: 1, vocab: OUTPUTS, dim: INPUTS, format: "q4_0" };
    const ops = await Promise.all(
      [["linear", product], ["embed", lookup]].map(async ([op, settings]) => {
        const inputs = await executor.inputs(op, settings);
        return { run: () => executor[op](settings, inputs), quickest: Infinity };
      }),
    );
    // In turn, so that other programs disturb both alike. The first runs compile.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const op of ops) {
        const began = performance.now();
        await op.run();
        if (round > 0) op.quickest = Math.min(op.quickest, (performance.now() - began) / 1000);
      }
    }
    const seconds = ops[0].quickest - ops[1].quickest;
    return (INPUTS * OUTPUTS * (4.5 / 8)) / Math.max(seconds, LEAST);
  } finally {
    executor.dispose();
  }
}

let measuring;

/** Measures this device once. Returns bytes per second, or `undefined` if it cannot be measured. */
export function measured() {
  measuring ??= (async () => {
    const known = kept("speed.bytes");
    if (known) return known;
    const found = await measure().catch(() => undefined);
    if (found) keep("speed.bytes", found);
    return found;
  })();
  return measuring;
}

/** Keeps the speed of an answer of a model whose weights have `bytes`. */
export function remember(id, bytes, perSecond) {
  keep("speed.models", { ...kept("speed.models", {}), [id]: perSecond });
  keep("speed.bytes", (bytes * perSecond) / PRODUCTS);
}

/** Returns the tokens per second of a model's last answer, or an estimate: `{ perSecond, estimated }`. */
export async function expected({ id, bytes }) {
  const last = kept("speed.models", {})[id];
  if (last) return { perSecond: last, estimated: false };
  const perSecond = await measured();
  return perSecond && bytes ? { perSecond: (PRODUCTS * perSecond) / bytes, estimated: true } : undefined;
}
