/** Threads of the CPU executor in Node.js, which has other workers than browsers. */

import { type SharedWasm, useThreads } from "./glue.js";
import { builtin } from "./modules.js";

let begun = false;

/** Has the wasm of this thread started with that many threads. The first number of a process applies to all its models. */
export function startThreads(threads: number): void {
  if (begun) return;
  begun = true;
  useThreads(threads, lend);
}

/** Starts a thread, and waits until it is ready. It does not keep the process running. */
function lend(shared: SharedWasm): Promise<void> {
  const { Worker } = builtin("node:worker_threads");
  // Options of the process, such as `--eval`, may not suit a script.
  const worker = new Worker(new URL("./nodethread.js", import.meta.url), { workerData: shared, execArgv: [] });
  return new Promise((resolve, reject) => {
    worker.once("message", () => {
      worker.unref();
      resolve();
    });
    worker.once("error", reject);
  });
}
