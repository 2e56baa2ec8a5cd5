/** Starts workers from any origin. */

import { FoveateError } from "./error.js";
import { blockedBy, watchPolicy } from "./policy.js";

/** A variable, because bundlers warn about a `new URL(..., import.meta.url)` whose first argument is not a literal. */
const here = import.meta.url;

/**
 * Starts a worker, and waits until its script has loaded: the first message of each script says so. `own` starts the worker
 * in the form that bundlers recognize, `new Worker(new URL("./FILE", import.meta.url), { type: "module", name })`. Pages may
 * only start workers from their own origin: Chromium throws otherwise, Firefox fires an event. If that fails, a worker
 * with one line of script imports `file` from the directory of this file, since imports may cross origins.
 *
 * @throws {FoveateError} if the script cannot be loaded or fails at once. Aborting `end` terminates the worker.
 */
export async function startWorker(own: () => Worker, file: string, name: string, end: AbortSignal): Promise<Worker> {
  watchPolicy();
  try {
    return await loaded(own(), end);
  } catch (error) {
    // The script was loaded, and failed: importing it cannot help.
    if (error instanceof FoveateError && error.code === "internal") throw error;
    return imported(file, name, end).catch(async (error) => {
      if (error instanceof FoveateError && error.code === "internal") throw error;
      throw await blocked(file, error);
    });
  }
}

/** Returns the error of a worker that was not started. */
async function blocked(file: string, cause: unknown): Promise<FoveateError> {
  const directive = (await blockedBy(new URL(file, here).href, "-src")) ?? (await blockedBy("blob", "-src"));
  if (!directive) return unreachable({ cause });
  const why = `the page's Content-Security-Policy blocks the worker: add its origin to the directive ${directive} ('self', or blob: for scripts of another origin), or pass \`worker: false\` to run without a worker`;
  return new FoveateError("read", why, { cause, reason: "csp" });
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

/** Returns the error of a worker: a wasm trap has a message, a script that could not be loaded has none. */
export function failed(event: ErrorEvent): FoveateError {
  event.preventDefault();
  return event.message ? new FoveateError("internal", `the worker failed: ${event.message}`) : unreachable();
}

const unreachable = (options?: ErrorOptions) =>
  new FoveateError(
    "read",
    "the worker's script cannot be loaded: serve it from the page's own origin, or pass `worker: false` to run without a worker",
    { ...options, reason: "worker" },
  );
