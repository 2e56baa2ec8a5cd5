/** The engine in a worker, with several threads for the CPU executor: for pages that share memory with workers. */

import * as threaded from "../pkg/threads/foveate.js";
import { use, wasmUrlOf } from "./glue.js";
import { LEAST, MOST } from "./memory.js";
import { failed, startWorker } from "./start.js";
import "./worker.js";

async function start(): Promise<void> {
  const response = await fetch(wasmUrlOf("threads/foveate_bg.wasm", new URL("../pkg/threads/foveate_bg.wasm", import.meta.url)));
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const memory = new WebAssembly.Memory({ initial: LEAST, maximum: MOST, shared: true });
  await threaded.default({ module_or_path: module, memory });
  // The name of the worker is the number of threads.
  const threads = Number(self.name);
  threaded.expectThreads(threads);
  const end = new AbortController();
  try {
    await Promise.all(Array.from({ length: threads - 1 }, () => lend(module, memory, end.signal)));
  } catch (error) {
    end.abort();
    throw error;
  }
}

/** Starts a worker that lends its thread, and waits until it is ready. */
async function lend(module: WebAssembly.Module, memory: WebAssembly.Memory, end: AbortSignal): Promise<void> {
  const own = () => new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  const worker = await startWorker(own, "./thread.js", "", end);
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(failed(event));
    worker.postMessage({ module, memory });
  });
}

use(threaded, start);
