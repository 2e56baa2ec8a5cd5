/** Downloads ahead: `cache.add`. */

import { addressOf } from "./address.js";
import { freeSpace, quotaError } from "./blocks.js";
import { cache, type CachedModel, requestPersistence } from "./cache.js";
import { type Abortable, FoveateError, throwIfAborted } from "./error.js";
import type { BlockSource } from "./files.js";
import { checkOptions, type OptionNames } from "./options.js";
import type { Fetch } from "./request.js";
import { withFiles } from "./source.js";
import { openStorage } from "./storage.js";

/** Options of requests, for {@link load} and {@link cache}. */
export interface RequestOptions {
  /** Address of the model hub: `https://huggingface.co` by default. */
  readonly hub?: string;
  /** Headers of every request, such as `{ Authorization: "Bearer ..." }` for private models. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Takes the place of `fetch`. It runs in the calling thread, also if the engine runs in a worker. */
  readonly fetch?: Fetch;
  /** Milliseconds without a byte after which a request is repeated: 30,000 by default. */
  readonly timeout?: number;
}

/** Progress of `cache.add`. */
export interface AddProgress {
  /** Bytes of the weights in the cache. */
  readonly loadedBytes: number;
  /** Bytes of all weights of the model. */
  readonly totalBytes: number;
  /** Bytes downloaded over the network by this call. */
  readonly fetchedBytes: number;
}

/** Options of `cache.add`. */
export interface AddOptions extends RequestOptions, Abortable {
  /** Called for every downloaded piece. */
  readonly onProgress?: (progress: AddProgress) => void;
}

const OPTIONS: OptionNames<AddOptions> = { hub: true, headers: true, fetch: true, timeout: true, onProgress: true, signal: true };

/** Implements `cache.add`. */
export async function add(source: string | URL | readonly (string | URL)[], options: AddOptions): Promise<CachedModel> {
  checkOptions("cache.add", options, OPTIONS);
  const { hub, headers, fetch, timeout, onProgress, signal } = options;
  if (!(await openStorage())) {
    throw new FoveateError("unsupported", "there is no storage for models here: private windows, pages without TLS (https) and Node.js have none");
  }
  requestPersistence();
  const sent = Array.isArray(source) ? (source as (string | URL)[]).map((part) => addressOf(part, hub)) : addressOf(source as string | URL, hub);
  throwIfAborted(signal);
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  let full: FoveateError | undefined;
  let fetchedBytes = 0;
  const onFull = (error: FoveateError) => {
    full ??= error;
    stop.abort();
  };
  const reading = { headers, fetch, timeout, signal: stop.signal, cache: true, onFull, onFetched: (bytes: number) => (fetchedBytes += bytes) };
  try {
    await withFiles(sent, reading, async ({ gguf = [], weights = [] }) => {
      const files = [...gguf, ...weights] as BlockSource[];
      const sum = (of: (file: BlockSource) => number) => files.reduce((sum, file) => sum + of(file), 0);
      const [totalBytes, missing] = [sum(({ size }) => size), sum((file) => file.missing)];
      if (full) throw full;
      const left = await freeSpace();
      if (left && missing > left.free) throw await quotaError(files[0]?.name ?? "the model", missing);
      const hear = () => onProgress?.({ loadedBytes: totalBytes - sum((file) => file.missing), totalBytes, fetchedBytes });
      hear();
      for (const file of files) await file.download(hear);
    });
  } catch (error) {
    throw full ?? FoveateError.from(error);
  } finally {
    signal?.removeEventListener("abort", abort);
    // If one part failed, others may still be under way.
    stop.abort();
  }
  const name = Array.isArray(sent) ? sent[0] : sent;
  const model = (await cache.list()).find(({ source }) => source === name);
  if (full) throw full;
  if (!model) throw new FoveateError("quota", `${name} cannot be kept: the browser's storage refused it`);
  // The storage may say that it is full only after all has arrived.
  if (!model.complete) throw await quotaError(model.source, model.totalBytes - model.cachedBytes);
  return model;
}
