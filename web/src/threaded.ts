/** The engine in a worker, with the CPU executor on several threads: for pages that share memory with their workers. */

import * as threaded from "../pkg/threads/foveate.js";
import { use } from "./glue.js";
import { failed, startWorker } from "./start.js";
import "./worker.js";

/** Pages of 64 KiB: what the build demands to begin with, and 4 GiB. */
const [LEAST, MOST] = [64, 65536];

async function start(): Promise<void> {
  const response = await fetch(new URL("../pkg/threads/foveate_bg.wasm", import.meta.url));
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const memory = new WebAssembly.Memory({ initial: LEAST, maximum: MOST, shared: true });
  await threaded.default({ module_or_path: module, memory });
  // The page tells the number by the worker's name.
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

/** Another worker, when it is about to lend its thread. */
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
