/** The engine in a worker, with several threads for the CPU executor: for pages that share memory with workers. */

import { type SharedWasm, useThreads } from "./glue.js";
import { failed, startWorker } from "./start.js";
import "./worker.js";

const end = new AbortController();

/** Starts a worker that lends its thread, and waits until it is ready. */
async function lend(shared: SharedWasm): Promise<void> {
  const own = () => new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  const worker = await startWorker(own, "./thread.js", "", end.signal);
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(failed(event));
    worker.postMessage(shared);
  });
}

// The name of the worker is the number of threads.
useThreads(Number(self.name), lend, () => end.abort());
