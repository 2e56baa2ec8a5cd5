/** The page's side of an engine in a worker, which keeps the page responsive. */

import type { Engine, Hooks, Method, Methods } from "./methods.js";
import { cancelled, FoveateError, throwIfAborted } from "./error.js";
import { failed, startWorker } from "./start.js";
import type { Reply, Request } from "./worker.js";

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (error: FoveateError) => void;
  readonly onProgress: Hooks["onProgress"];
}

export class WorkerEngine implements Engine {
  readonly #worker: Promise<Worker>;
  readonly #end = new AbortController();
  readonly #calls = new Map<number, Call>();
  #count = 0;
  #failure: FoveateError | undefined;

  /** Starts a worker. With more than one of `threads`, its CPU executor has that many. */
  constructor(threads = 1) {
    const started = threads > 1 ? startThreaded(String(threads), this.#end.signal) : startSingle(this.#end.signal);
    this.#worker = started.then((worker) => {
      worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#reply(data);
      // A worker that failed answers no call any more.
      worker.onerror = (event) => this.#fail(failed(event));
      return worker;
    });
    this.#worker.catch((error) => this.#fail(error));
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
    this.#fail(new FoveateError("closed", "the model or device was disposed of"));
  }

  #post(request: Request): void {
    const send = (worker: Worker) => worker.postMessage(request);
    this.#worker.then(send).catch((error) => {
      const id = "id" in request ? request.id : request.abort;
      this.#calls.get(id)?.reject(new FoveateError("config", `an argument cannot be sent to the worker: ${error}`, { cause: error }));
    });
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
    this.#end.abort();
    for (const call of [...this.#calls.values()]) call.reject(failure);
  }
}

const startSingle = (end: AbortSignal) =>
  startWorker(() => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }), "./worker.js", "", end);

const startThreaded = (name: string, end: AbortSignal) =>
  startWorker(() => new Worker(new URL("./threaded.js", import.meta.url), { type: "module", name }), "./threaded.js", name, end);
