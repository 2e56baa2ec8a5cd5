/** Measures the time of each op of a model. */

import type { Generation, Session } from "../pkg/foveate.js";
import type { Phase, Profile } from "./methods.js";

/** Adds up timed ops, `[[op, seconds, bytes]]`. */
function phase(tokens: number, timed: string): Phase {
  const sums = new Map<string, { op: string; runs: number; seconds: number; share: number; bytes: number }>();
  for (const [op, seconds, bytes] of JSON.parse(timed) as [string, number, number][]) {
    const sum = sums.get(op) ?? { op, runs: 0, seconds: 0, share: 0, bytes: 0 };
    sums.set(op, { op, runs: sum.runs + 1, seconds: sum.seconds + seconds, share: 0, bytes: sum.bytes + bytes });
  }
  const all = [...sums.values()].reduce((seconds, sum) => seconds + sum.seconds, 0);
  const ops = [...sums.values()].map((sum) => ({ ...sum, share: all > 0 ? sum.seconds / all : 0 }));
  return { tokens, ops: ops.sort((a, b) => b.seconds - a.seconds) };
}

/** Reads a prompt into an empty session, then generates up to `tokens` tokens. Awaits `pause` before every step. */
export async function phases(
  session: Session,
  ids: Uint32Array,
  tokens: number,
  pause: () => Promise<void>,
): Promise<Omit<Profile, "clock">> {
  let generation: Generation | undefined;
  try {
    session.startTiming();
    session.append(ids);
    do await pause();
    while (session.read());
    const prefill = phase(ids.length - 1, await session.timings());
    session.startTiming();
    generation = session.generate({ maxTokens: tokens });
    let steps = 0;
    for (let goesOn = true; goesOn && steps < tokens; steps++) {
      await pause();
      const [id] = await generation.next();
      goesOn = id !== undefined;
    }
    return { prefill, decode: phase(steps, await session.timings()) };
  } finally {
    // Without this, the device would go on timing ops, which is slow.
    await session.timings().catch(() => {});
    generation?.free();
  }
}
