/** The engine's other side: a worker that does the work, so that the page stays quick. */

import type { Engine, Hooks, Method, Methods } from "./methods.js";
import { cancelled, FoveateError, throwIfAborted } from "./error.js";
import type { Reply, Request } from "./worker.js";

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (error: FoveateError) => void;
  readonly onProgress: Hooks["onProgress"];
}

export class WorkerEngine implements Engine {
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  #count = 0;
  #failure: FoveateError | undefined;

  /** With more than one of `threads`, the CPU executor has that many. */
  constructor(threads = 1) {
    this.#worker = threads > 1 ? spawnThreaded(threads) : spawn();
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#reply(data);
    // A trap in the wasm, or a worker that could not be loaded: nothing that was asked will be answered.
    this.#worker.onerror = (event) => {
      event.preventDefault?.();
      this.#fail(new FoveateError("internal", `the worker failed: ${event.message ?? "it could not be loaded"}`));
    };
  }

  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}): Promise<ReturnType<Methods[M]>> {
    const { onProgress, signal } = hooks;
    return new Promise((resolve, reject) => {
      throwIfAborted(signal);
      if (this.#failure) throw this.#failure;
      const id = this.#count++;
      const abort = () => {
        this.#post({ abort: id });
        settle();
        reject(cancelled(signal as AbortSignal));
      };
      const settle = () => {
        this.#calls.delete(id);
        signal?.removeEventListener("abort", abort);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.set(id, {
        resolve: (value) => (settle(), resolve(value)),
        reject: (error) => (settle(), reject(error)),
        onProgress,
      });
      this.#post({ id, method, args });
    });
  }

  close(): void {
    this.#fail(new FoveateError("closed", "the model is closed"));
  }

  #post(request: Request): void {
    this.#worker.postMessage(request);
  }

  #reply(reply: Reply): void {
    const call = this.#calls.get(reply.id);
    if ("progress" in reply) call?.onProgress?.(reply.progress);
    else if ("error" in reply) call?.reject(new FoveateError(reply.error.code, reply.error.message));
    else call?.resolve(reply.value as never);
  }

  /** Ends the worker, and with it its memory and its device. */
  #fail(failure: FoveateError): void {
    this.#failure ??= failure;
    this.#worker.terminate();
    for (const call of [...this.#calls.values()]) call.reject(failure);
  }
}

function spawn(): Worker {
  try {
    // Bundlers know this form.
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  } catch (error) {
    return spawnFrom(new URL("./worker.js", import.meta.url), error);
  }
}

function spawnThreaded(threads: number): Worker {
  const name = String(threads);
  try {
    return new Worker(new URL("./threaded.js", import.meta.url), { type: "module", name });
  } catch (error) {
    return spawnFrom(new URL("./threaded.js", import.meta.url), error, name);
  }
}

/** Pages may start workers of their own origin only; one that imports from elsewhere is of theirs. */
function spawnFrom(url: URL, error: unknown, name = ""): Worker {
  if (!(error instanceof DOMException)) throw error;
  const module = `import ${JSON.stringify(url.href)};`;
  const own = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  return new Worker(own, { type: "module", name });
}
