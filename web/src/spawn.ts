/** Options and sources shared by `load` and `device`. */

import { LocalEngine } from "./engine.js";
import type { Engine } from "./methods.js";
import { abortable, FoveateError } from "./error.js";
import { WorkerEngine } from "./remote.js";
import type { OpenSource } from "./source.js";

/**
 * A model.
 *
 * - An address, as a string or a `URL`: a `.gguf` file, any part of a split one (`NAME-00001-of-00003.gguf`) with the other
 *   parts beside it, or a folder with `config.json` and `model.safetensors`.
 * - The addresses of all parts of a split `.gguf` file.
 * - The name of a model on the hub, `owner/name`.
 * - A GGUF file: a `File`, a `Blob`, a `ReadableStream` or a file handle.
 * - A folder: an array of all its `File`s, or a directory handle.
 */
export type ModelSource =
  | string
  | URL
  | readonly (string | URL)[]
  | Blob
  | readonly File[]
  | ReadableStream<Uint8Array>
  | FileSystemFileHandle
  | FileSystemDirectoryHandle;

/** Worker and threads of an engine. */
export interface EngineOptions {
  /** Runs the engine in a worker: `true` by default if there are workers. `false` runs it in the calling thread. */
  readonly worker?: boolean;
  /**
   * Threads of the CPU executor. More than one needs a worker and a cross-origin isolated page, because threads share
   * memory; otherwise there is one. `model.device` tells the number. Default: half of the processor's threads, at most 8,
   * so that pages and drivers can still run.
   */
  readonly threads?: number;
}

/** Starts an engine, in a worker of its own or in this thread. */
export function spawnEngine({ worker = typeof Worker !== "undefined", threads = cores() }: EngineOptions, kind: string): Engine {
  if (!Number.isInteger(threads) || threads < 1) {
    throw new FoveateError("config", `threads must be a whole number of at least 1, got ${threads}`);
  }
  if (!worker) return new LocalEngine();
  // GPUs need no threads, and the reference executor has none.
  const shared = globalThis.crossOriginIsolated === true && (kind === "cpu" || kind === "auto");
  return new WorkerEngine(shared ? threads : 1);
}

/** Returns half of the processor's threads: the other half often share cores with them. */
function cores(): number {
  return Math.min(8, Math.ceil((globalThis.navigator?.hardwareConcurrency ?? 1) / 2));
}

/** Returns an absolute address. A worker has another base address, and a `URL` cannot be sent to it. */
export function absolute(source: string | URL): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return URL.canParse(source, base) ? new URL(source, base).href : String(source);
}

/** `owner/name`, without the leading dots and the `..` of relative paths. */
const HUB_NAME = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

const isAddresses = (source: unknown): source is readonly (string | URL)[] =>
  Array.isArray(source) && source.length > 0 && source.every((part) => typeof part === "string" || part instanceof URL);

/** Converts a source to a form that can be sent to a worker. `hub` is the address of a model hub. */
export async function sendable(source: ModelSource, hub: string, signal?: AbortSignal): Promise<OpenSource> {
  if (typeof source === "string" && HUB_NAME.test(source) && !source.toLowerCase().endsWith(".gguf")) {
    return absolute(`${hub.replace(/\/$/, "")}/${source}/resolve/main/`);
  }
  if (typeof source === "string" || source instanceof URL) return absolute(source);
  if (isAddresses(source)) return source.map(absolute);
  if (typeof source !== "object" || !source) throw new FoveateError("config", `a model must be an address, a file, the files of a folder or a stream, got ${source}`);
  if (source instanceof Blob) return source;
  if ("getReader" in source) {
    // Browsers store blobs outside of the page's memory.
    const read = new Response(source as ReadableStream<Uint8Array<ArrayBuffer>>).blob();
    return abortable(read, signal).catch((error) => {
      if (error instanceof FoveateError) throw error;
      throw new FoveateError("read", `cannot read the stream: ${error}`, { cause: error });
    });
  }
  if ("kind" in source) {
    return (source.kind === "file" ? source.getFile() : filesOf(source)).catch((error) => {
      throw new FoveateError("read", `cannot read ${source.name}: ${error}`, { cause: error });
    });
  }
  return source;
}

async function filesOf(folder: FileSystemDirectoryHandle): Promise<File[]> {
  const files: Promise<File>[] = [];
  // TypeScript's DOM types lack iteration of directories.
  const all = (folder as unknown as { values(): AsyncIterable<FileSystemHandle> }).values();
  for await (const entry of all) {
    if (entry.kind === "file") files.push((entry as FileSystemFileHandle).getFile());
  }
  return Promise.all(files);
}
