/** The page's side of an engine in a worker, which keeps the page responsive. */

import type { Engine, Hooks, Method, Methods } from "./methods.js";
import { cancelled, FoveateError, throwIfAborted } from "./error.js";
import { exposeFetch } from "./proxy.js";
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

  /**
   * Starts a worker. With more than one of `threads`, its CPU executor has that many. `url` takes the place of the package's
   * own script.
   */
  constructor(threads = 1, url?: string) {
    const [name, end] = [threads > 1 ? String(threads) : "", this.#end.signal];
    const started = url ? startOther(url, name, end) : threads > 1 ? startThreaded(name, end) : startSingle(end);
    this.#worker = started.then((worker) => {
      worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#reply(data);
      // A worker that failed answers no call any more.
      worker.onerror = (event) => this.#fail(failed(event));
      return worker;
    });
    this.#worker.catch((error) => this.#fail(error));
  }

  /** Resolves when the worker runs; rejected if it cannot be started. */
  get started(): Promise<unknown> {
    return this.#worker;
  }

  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}): Promise<ReturnType<Methods[M]>> {
    const { onProgress, signal, fetch } = hooks;
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
      const port = fetch && exposeFetch(fetch, this.#end.signal);
      this.#post({ id, method, args, ...(port ? { fetch: port } : {}) }, port ? [port] : []);
    });
  }

  close(): void {
    this.#fail(new FoveateError("closed", "the model or device was disposed of"));
  }

  #post(request: Request, ports: MessagePort[] = []): void {
    const send = (worker: Worker) => worker.postMessage(request, ports);
    this.#worker.then(send).catch((error) => {
      const id = "id" in request ? request.id : request.abort;
      this.#calls.get(id)?.reject(new FoveateError("config", `an argument cannot be sent to the worker: ${error}`, { cause: error }));
    });
  }

  #reply(reply: Reply): void {
    const call = this.#calls.get(reply.id);
    if ("progress" in reply) call?.onProgress?.(reply.progress);
    else if ("error" in reply) call?.reject(new FoveateError(reply.error.code, reply.error.message, { reason: reply.error.reason }));
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

const startOther = (url: string, name: string, end: AbortSignal) =>
  startWorker(() => new Worker(url, { type: "module", name }), url, name, end);
