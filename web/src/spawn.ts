/** Options and sources shared by `load` and `device`. */

import { absolute, addressOf } from "./address.js";
import { abortable, FoveateError } from "./error.js";
import type { Engine, Hooks, Method, Methods } from "./methods.js";
import type { OptionNames } from "./options.js";
import { WorkerEngine } from "./remote.js";
import type { OpenSource } from "./source.js";

/** The part of a `FileSystemFileHandle` that is used here: TypeScript knows its type with the library `dom` only. */
export interface FileHandle {
  readonly kind: "file";
  readonly name: string;
  getFile(): Promise<File>;
}

/** The part of a `FileSystemDirectoryHandle` that is used here. */
export interface FolderHandle {
  readonly kind: "directory";
  readonly name: string;
}

/**
 * A model.
 *
 * - An address, as a string or a `URL`: a `.gguf` file, any part of a split one (`NAME-00001-of-00003.gguf`) with the other
 *   parts beside it, or a folder with `config.json` and `model.safetensors`. Addresses of a hub's web pages are rewritten to
 *   those of the files that they show (`blob/main/` to `resolve/main/`).
 * - A list of addresses: the parts of a split `.gguf` file, or the files of a folder.
 * - A name on the hub: `owner/name` for a folder, `owner/name/file.gguf` for a file. A relative address of this form begins
 *   with `./`.
 * - A GGUF file: bytes, a `File`, a `Blob`, a `Response`, a `ReadableStream` or a file handle.
 * - A folder, or the parts of a split `.gguf` file: an array of `File`s, or a directory handle.
 */
export type ModelSource =
  | string
  | URL
  | readonly (string | URL)[]
  | ArrayBuffer
  | Uint8Array
  | Blob
  | Response
  | readonly File[]
  | ReadableStream<Uint8Array>
  | FileHandle
  | FolderHandle;

/** Worker, threads and files of an engine. */
export interface EngineOptions {
  /**
   * Runs the engine in a worker if there are workers; if it cannot be started, for example because a
   * Content-Security-Policy blocks it, in the calling thread, with a warning in the console. `false` runs it in the calling
   * thread. With `true`, a worker that cannot be started is an error.
   */
  readonly worker?: boolean;
  /**
   * Threads of the CPU executor. More than one needs a worker and a cross-origin isolated page, because threads share
   * memory, or Node.js, where the first model's number applies to all; otherwise there is one. `model.device` tells the
   * number. Default: half of the processor's threads, at most 8, so that pages and drivers can still run.
   */
  readonly threads?: number;
  /**
   * Address of a copy of the package's folder `pkg`, which ends with `/`; or of a copy of its `foveate_bg.wasm`. Default:
   * where the package or its bundle is.
   */
  readonly wasmUrl?: string | URL;
  /** Address of the worker's script, a copy of the package's `worker.js`, or of `threaded.js` for threads. */
  readonly workerUrl?: string | URL;
}

/** Names of {@link EngineOptions}. */
export const ENGINE_OPTIONS: OptionNames<EngineOptions> = { worker: true, threads: true, wasmUrl: true, workerUrl: true };

/** An engine that is being started. Its first call waits for it; later calls are passed on at once, in their order. */
class StartingEngine implements Engine {
  readonly #starting: Promise<Engine>;
  #started: Engine | undefined;
  readonly #end = new AbortController();

  /** `start` gets a signal that is aborted when the engine is closed. */
  constructor(start: (closing: AbortSignal) => Promise<Engine>) {
    const { signal } = this.#end;
    const closed = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    this.#starting = Promise.race([start(signal), closed]);
    this.#starting.then((engine) => (this.#started = engine)).catch(() => {});
  }

  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}): Promise<ReturnType<Methods[M]>> {
    if (this.#started) return this.#started.call(method, args, hooks);
    return abortable(this.#starting, hooks.signal).then((engine) => engine.call(method, args, hooks));
  }

  close(): void {
    this.#end.abort(new FoveateError("closed", "the model or device was disposed of"));
    if (this.#started) this.#started.close();
    else this.#starting.then((engine) => engine.close()).catch(() => {});
  }
}

/** Starts an engine, in a worker of its own or in this thread. */
export function spawnEngine(options: EngineOptions, kind: string): Engine {
  const { worker, threads = cores(), wasmUrl, workerUrl } = options;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new FoveateError("config", `threads must be a whole number of at least 1, got ${threads}`);
  }
  const wasm = wasmUrl === undefined ? undefined : absolute(wasmUrl);
  const inWorker = worker ?? typeof Worker !== "undefined";
  // GPUs need no threads, and the reference executor has none.
  const several = (kind === "cpu" || kind === "auto") && (inWorker ? globalThis.crossOriginIsolated === true : isNode());
  const count = several ? threads : 1;
  return new StartingEngine(async (closing) => {
    const engine = await (inWorker ? remote(count, workerUrl && absolute(workerUrl), worker === true, closing) : local(count));
    if (wasm !== undefined) await engine.call("locate", [wasm]);
    return engine;
  });
}

/** Returns `true` in Node.js, and not in Deno or Bun, which have workers of the web. */
const isNode = () => typeof Worker === "undefined" && "process" in globalThis;

/** Variables, so that bundles for browsers leave the file out without a warning. */
const [NODE, here] = ["./node.js", import.meta.url];

/** Starts an engine in this thread. Pages with a worker do not download its script. */
async function local(threads: number): Promise<Engine> {
  const { LocalEngine } = await import("./engine.js").catch((error) => {
    const offline = globalThis.navigator?.onLine === false;
    const why = offline ? "this device is offline, and the page keeps no copy of them" : error;
    throw new FoveateError("read", `cannot load the scripts of the engine: ${why}`, { cause: error, reason: offline ? "offline" : undefined });
  });
  await prepareThreads(threads);
  return new LocalEngine();
}

/** In Node.js, has the wasm of this thread started with that many threads. The first number of a process stays. */
export async function prepareThreads(threads = cores()): Promise<void> {
  if (!isNode() || threads < 2) return;
  const { startThreads } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ new URL(NODE, here).href)) as typeof import("./node.js");
  startThreads(threads);
}

/** Starts an engine in a worker; unless it must be there, in this thread if that fails. */
async function remote(threads: number, url: string | undefined, must: boolean, closing: AbortSignal): Promise<Engine> {
  const engine = new WorkerEngine(threads, url);
  closing.addEventListener("abort", () => engine.close(), { once: true });
  try {
    await engine.started;
    return engine;
  } catch (error) {
    if (must || closing.aborted || FoveateError.from(error).code === "internal") throw error;
    console.warn(`foveate: continuing without a worker, so the page may stutter: ${(error as FoveateError).message}`);
    return local(1);
  }
}

/** Returns half of the processor's threads: the other half often share cores with them. */
function cores(): number {
  return Math.min(8, Math.ceil((globalThis.navigator?.hardwareConcurrency ?? 1) / 2));
}

const isAddresses = (source: unknown): source is readonly (string | URL)[] =>
  Array.isArray(source) && source.length > 0 && source.every((part) => typeof part === "string" || part instanceof URL);

/** Converts a source to a form that can be sent to a worker. `hub` is the address of a model hub. */
export async function sendable(source: ModelSource, hub: string | undefined, signal?: AbortSignal): Promise<OpenSource> {
  if (typeof source === "string" || source instanceof URL) return addressOf(source, hub);
  if (isAddresses(source)) return source.map((part) => addressOf(part, hub));
  if (typeof source !== "object" || !source) throw new FoveateError("config", `a model must be an address, a file, bytes, the files of a folder or a stream, got ${source}`);
  if (source instanceof Blob) return source;
  // Browsers store blobs outside of the page's memory.
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return new Blob([source as Uint8Array<ArrayBuffer>]);
  // In Node.js, the name `Response` compiles a wasm of its own.
  if ("blob" in source && "ok" in source) {
    if (source.ok) return read(source, source.url.split(/[?#]/)[0]?.split("/").pop() || "the response", signal);
    throw new FoveateError("read", `cannot read ${source.url || "the response"}: status ${source.status}`);
  }
  if ("getReader" in source) return read(new Response(source as ReadableStream<Uint8Array<ArrayBuffer>>), "the stream", signal);
  if ("kind" in source) {
    return (source.kind === "file" ? source.getFile() : filesOf(source)).catch((error) => {
      throw new FoveateError("read", `cannot read ${source.name}: ${error}`, { cause: error });
    });
  }
  return source as readonly File[];
}

/** Reads a body into a file. */
function read(response: Response, name: string, signal: AbortSignal | undefined): Promise<File> {
  const file = response.blob().then((blob) => new File([blob], name));
  return abortable(file, signal).catch((error) => {
    if (error instanceof FoveateError) throw error;
    throw new FoveateError("read", `cannot read ${name}: ${error}`, { cause: error });
  });
}

async function filesOf(folder: FolderHandle): Promise<File[]> {
  const files: Promise<File>[] = [];
  // TypeScript's DOM types lack iteration of directories.
  const all = (folder as unknown as { values(): AsyncIterable<FileHandle | FolderHandle> }).values();
  for await (const entry of all) {
    if (entry.kind === "file") files.push(entry.getFile());
  }
  return Promise.all(files);
}
