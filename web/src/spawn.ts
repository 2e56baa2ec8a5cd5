/** What loads models and opens devices has in common. */

import { LocalEngine } from "./engine.js";
import type { Engine } from "./methods.js";
import { abortable, FoveateError } from "./error.js";
import { WorkerEngine } from "./remote.js";
import type { OpenSource } from "./source.js";

/**
 * A model: the address of a `.gguf` file, or of any part of a split one (`NAME-00001-of-00003.gguf`), whose other parts
 * lie beside it; the addresses of all its parts; the address of a folder with `config.json` and `model.safetensors`, as the hub
 * keeps them; the name of a model on the hub, `owner/name`; a GGUF `File` or `Blob`, a stream of one, or a handle of one;
 * all files of a folder, or a handle of it.
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

/** Where an engine runs. */
export interface Where {
  /** `false` runs everything in the calling thread; by default it runs in a worker where there are workers. */
  readonly worker?: boolean;
  /**
   * Threads of the CPU executor, where the page is cross-origin isolated and so can share memory with workers: elsewhere
   * it has one, and so it has where they cannot be started, as `model.device` says. By default half as many as the processor
   * runs, 8 at most: pages and drivers need some, too.
   */
  readonly threads?: number;
}

/** An engine in a worker of its own where there are workers, or in this thread. */
export function spawnEngine({ worker = typeof Worker !== "undefined", threads = cores() }: Where, kind: string): Engine {
  if (!Number.isInteger(threads) || threads < 1) {
    throw new FoveateError("config", `threads must be a number of 1 or more, got ${threads}`);
  }
  if (!worker) return new LocalEngine();
  // GPUs need none, and definitions have none.
  const shared = globalThis.crossOriginIsolated === true && (kind === "cpu" || kind === "auto");
  return new WorkerEngine(shared ? threads : 1);
}

/** Half of what the processor runs: the other half are often second threads of the same cores. */
function cores(): number {
  return Math.min(8, Math.ceil((globalThis.navigator?.hardwareConcurrency ?? 1) / 2));
}

/** The same address for a worker, which has another base, and cannot be sent a `URL`. */
export function absolute(source: string | URL): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return URL.canParse(source, base) ? new URL(source, base).href : String(source);
}

/** Two words and a stroke, without the dots and endings of paths. */
const HUB_NAME = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

const isAddresses = (source: unknown): source is readonly (string | URL)[] =>
  Array.isArray(source) && source.length > 0 && source.every((part) => typeof part === "string" || part instanceof URL);

/** A source in a form that can be sent to a worker. `hub` is the address of a hub. */
export async function sendable(source: ModelSource, hub: string, signal?: AbortSignal): Promise<OpenSource> {
  if (typeof source === "string" && HUB_NAME.test(source) && !source.toLowerCase().endsWith(".gguf")) {
    return absolute(`${hub.replace(/\/$/, "")}/${source}/resolve/main/`);
  }
  if (typeof source === "string" || source instanceof URL) return absolute(source);
  if (isAddresses(source)) return source.map(absolute);
  if (typeof source !== "object" || !source) throw new FoveateError("config", `a model is an address, files or a stream, got ${source}`);
  if (source instanceof Blob) return source;
  if ("getReader" in source) {
    // Browsers keep blobs outside of the page's memory.
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
  // TypeScript's types lack the iteration of folders.
  const all = (folder as unknown as { values(): AsyncIterable<FileSystemHandle> }).values();
  for await (const entry of all) {
    if (entry.kind === "file") files.push((entry as FileSystemFileHandle).getFile());
  }
  return Promise.all(files);
}
