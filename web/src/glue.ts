/** The engine's wasm in this thread: with a memory of its own, unless a worker starts it with threads. */

import * as glue from "../pkg/foveate.js";
import { FLAGS, INITIAL, MAXIMUM } from "../pkg/memory.js";
import { checkWasm, engineUrl, unloaded, wasmAt } from "./modules.js";

export { glue };

/** Address of the engine's wasm. */
const address = (): URL => engineUrl(new URL("../pkg/foveate_bg.wasm", import.meta.url));

let begin = async (): Promise<unknown> => glue.default({ module_or_path: wasmAt(address()) });

/** A compiled wasm and its memory, which threads share. */
export interface SharedWasm {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/**
 * Has the wasm started with `threads` threads: `lend` starts one of them, and resolves when it is ready. If that fails, `end`
 * is called, and the wasm has one thread.
 */
export function useThreads(threads: number, lend: (shared: SharedWasm) => Promise<void>, end?: () => void): void {
  const single = begin;
  begin = async () => {
    try {
      const shared = await sharedWasm();
      await glue.default({ module_or_path: shared.module, memory: shared.memory });
      glue.expectThreads(threads);
      await Promise.all(Array.from({ length: threads - 1 }, () => lend(shared)));
    } catch (error) {
      console.warn(`foveate: cannot start threads, continuing with one: ${error}`);
      end?.();
      begin = single;
      // Does nothing if the wasm has a memory already.
      await single();
      glue.expectThreads(1);
    }
  };
}

/** Compiles the wasm for a memory that threads share. The file says that its memory is not shared; the code is the same. */
async function sharedWasm(): Promise<SharedWasm> {
  const memory = new WebAssembly.Memory({ initial: INITIAL, maximum: MAXIMUM, shared: true });
  const at = await wasmAt(address());
  const bytes = at instanceof URL ? new Uint8Array(await (await fetch(at)).arrayBuffer()) : at;
  bytes[FLAGS] = 3;
  return { module: await WebAssembly.compile(bytes), memory };
}

let ready: Promise<unknown> | undefined;

/** Compiles the wasm once per thread. */
export async function compiled(): Promise<unknown> {
  checkWasm();
  ready ??= begin().catch((error) => {
    ready = undefined;
    throw unloaded(error);
  });
  return ready;
}
