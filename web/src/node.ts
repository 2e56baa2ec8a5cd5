/** Threads of the CPU executor in Node.js, which has other workers than browsers. */

import * as threaded from "../pkg/threads/foveate.js";
import { builtin, use, wasmUrlOf } from "./glue.js";
import { LEAST, MOST } from "./memory.js";

let begun = false;

/** Has the wasm of this thread built for threads, with that many. The first number of a process applies to all its models. */
export function startThreads(threads: number): void {
  if (begun) return;
  begun = true;
  use(threaded, async () => {
    const file = wasmUrlOf("threads/foveate_bg.wasm", new URL("../pkg/threads/foveate_bg.wasm", import.meta.url));
    const bytes = file.protocol === "file:" ? await builtin("node:fs/promises").readFile(file) : await (await fetch(file)).arrayBuffer();
    const module = await WebAssembly.compile(bytes);
    const memory = new WebAssembly.Memory({ initial: LEAST, maximum: MOST, shared: true });
    await threaded.default({ module_or_path: module, memory });
    threaded.expectThreads(threads);
    await Promise.all(Array.from({ length: threads - 1 }, () => lend(module, memory)));
  });
}

/** Starts a thread, and waits until it is ready. It does not keep the process running. */
function lend(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<void> {
  const { Worker } = builtin("node:worker_threads");
  // Options of the process, such as `--eval`, may not suit a script.
  const worker = new Worker(new URL("./nodethread.js", import.meta.url), { workerData: { module, memory }, execArgv: [] });
  return new Promise((resolve, reject) => {
    worker.once("message", () => {
      worker.unref();
      resolve();
    });
    worker.once("error", reject);
  });
}
