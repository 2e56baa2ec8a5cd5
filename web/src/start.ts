/** Starting workers, wherever the package comes from. */

import { FoveateError } from "./error.js";

/** By a name of its own: a `new URL(..., import.meta.url)` that is no literal is one that bundlers warn of. */
const here = import.meta.url;

/**
 * A worker whose script is there: each of ours says so before anything else. `own` starts it in the form that bundlers
 * know, `new Worker(new URL("./FILE", import.meta.url), { type: "module", name })`. Pages start workers of their own origin
 * only, which Chromium says by an exception and Firefox by an event; but they may import from elsewhere, and so may a
 * worker of one line: it imports `file` from beside this one.
 *
 * @throws {FoveateError} if the script cannot be loaded or fails at once; `end` ends the worker, whatever it does.
 */
export async function startWorker(own: () => Worker, file: string, name: string, end: AbortSignal): Promise<Worker> {
  try {
    return await loaded(own(), end);
  } catch (error) {
    // That one was there.
    if (error instanceof FoveateError && error.code === "internal") throw error;
    return imported(file, name, end).catch((error) => {
      throw error instanceof FoveateError ? error : unreachable({ cause: error });
    });
  }
}

async function imported(file: string, name: string, end: AbortSignal): Promise<Worker> {
  const line = `import ${JSON.stringify(new URL(file, here).href)};`;
  const url = URL.createObjectURL(new Blob([line], { type: "text/javascript" }));
  try {
    return await loaded(new Worker(url, { type: "module", name }), end);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function loaded(worker: Worker, end: AbortSignal): Promise<Worker> {
  const stop = () => worker.terminate();
  if (end.aborted) stop();
  end.addEventListener("abort", stop, { once: true });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve(worker);
    worker.onerror = (event) => {
      stop();
      end.removeEventListener("abort", stop);
      reject(failed(event));
    };
  });
}

/** Why a worker can't go on: a trap in the wasm, which has a message, or a script that could not be loaded. */
export function failed(event: ErrorEvent): FoveateError {
  event.preventDefault();
  return event.message ? new FoveateError("internal", `the worker failed: ${event.message}`) : unreachable();
}

const unreachable = (options?: ErrorOptions) =>
  new FoveateError(
    "read",
    "the worker's script cannot be loaded: serve it from the page's own origin, or pass `worker: false` to do without",
    options,
  );
