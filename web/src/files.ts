/** Files of one model, on a server and in the cache. */

import type { JsSource } from "../pkg/foveate.js";
import { BLOCK, CachedFile, quotaError } from "./blocks.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { checkSmall, checkStart, type Format, isHtml } from "./magic.js";
import { askVersion, changed, range, type RequestSettings, type Start, start, type Whole, whole } from "./request.js";
import { sameVersion, type SizedVersion } from "./version.js";

/** Options for reading files of a server. */
export interface Reading extends RequestSettings {
  /** Stores downloaded files, and reads stored ones. */
  readonly cache?: boolean;
  /** Blocks that are fetched ahead of the one that is read: 3 by default. */
  readonly ahead?: number;
  /** Called once if the storage is full. Default: a warning in the console. */
  readonly onFull?: ((error: FoveateError) => void) | undefined;
}

const nameOf = (url: URL) => decodeURIComponent(url.pathname.split("/").pop() || url.pathname);

export class Files {
  /** The last error of reading a file for the wasm, which converts errors to texts. */
  failure: FoveateError | undefined;
  /** See {@link Reading}. */
  readonly ahead: number;
  readonly #source: string;
  readonly #reading: Reading;
  /** Opened files of the cache by address. */
  readonly #cached = new Map<string, CachedFile>();
  /** Files that were compared with the server's by now. */
  readonly #compared = new Set<string>();
  /** Writes files that were read to the cache. {@link keep} calls them when all files of the model have been opened. */
  #pending: (() => Promise<void>)[] = [];
  #toldFull = false;
  #fetched = false;

  constructor(source: string, reading: Reading) {
    this.#source = source;
    this.ahead = reading.ahead ?? 3;
    this.#reading = { ...reading, onFetched: (bytes) => ((this.#fetched = true), reading.onFetched?.(bytes)) };
  }

  /** Returns `true` if a file is in the cache. */
  async has(url: URL): Promise<boolean> {
    return this.#reading.cache === true && (await CachedFile.find(url.href)) !== undefined;
  }

  /** Reads a small file. */
  required(url: URL): Promise<Uint8Array> {
    return this.#small(url, (reading) => whole(url, reading)) as Promise<Uint8Array>;
  }

  /**
   * Reads a small file; returns `undefined` if it does not exist. If it did not exist `before`, a server that cannot be
   * reached counts as one that does not have it.
   */
  optional(url: URL, before: boolean): Promise<Uint8Array | undefined> {
    return this.#small(url, async (reading, existed) => {
      const lenient = before && !existed;
      if (lenient && globalThis.navigator?.onLine === false) return undefined;
      return whole(url, lenient ? { ...reading, timeout: LENIENT_TIMEOUT } : reading, true, lenient ? 1 : undefined).catch((error) => {
        if (!lenient || error.code === "cancelled") throw error;
        return undefined;
      });
    });
  }

  async #small(
    url: URL,
    get: (reading: Reading, existed: boolean) => Promise<Whole | undefined>,
  ): Promise<Uint8Array | undefined> {
    const { kept, outdated } = await this.#find(url);
    const stored = kept && (await wholeOf(kept));
    if (stored && !outdated) return stored;
    const got = await get(this.#reading, kept !== undefined).catch((error) => {
      if (!stored || error.code === "cancelled") throw error;
      return undefined;
    });
    // An outdated file is better than none.
    if (!got) return stored;
    const bytes = new Uint8Array(await got.blob.arrayBuffer());
    checkSmall(nameOf(url), bytes);
    if (isHtml(bytes) && !url.pathname.endsWith(".jinja")) {
      if (stored || !url.pathname.endsWith("/config.json")) return stored;
      throw new FoveateError("format", `${url} is a web page, not a model's configuration: check the address`, { reason: "html" });
    }
    if (this.#reading.cache && isSound(url, bytes)) {
      this.#pending.push(async () => {
        await kept?.drop();
        const file = await CachedFile.begin(url.href, this.#source, { ...got.version, size: bytes.length });
        this.#begun(url, file);
        for (let at = 0; file && at < bytes.length; at += BLOCK) await file.write(at / BLOCK, bytes.subarray(at, at + BLOCK));
        if (file?.full) await this.#full(file);
      });
    }
    return bytes;
  }

  /** Stores the files that were read while the model was opened. */
  async keep(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    for (const keep of pending) await keep();
  }

  /**
   * Opens a large file. If the server does not support ranges, downloads the file once, into a `Blob`, which browsers store
   * outside of the page's memory.
   */
  async open(url: URL, format: Format): Promise<JsSource> {
    const { cache, signal } = this.#reading;
    const name = nameOf(url);
    const { kept, outdated } = await this.#find(url);
    const first = await kept?.read(0);
    const stored = kept && first && startsLike(name, first, format) ? () => this.#stored(url, name, kept, first) : undefined;
    if (stored && !outdated) return stored();
    let begun: Start;
    try {
      begun = await start(url, BLOCK, this.#reading);
    } catch (error) {
      if (!stored || (error as FoveateError).code === "cancelled") throw error;
      // An outdated file is better than none.
      return stored();
    }
    const blob = "blob" in begun ? begun.blob : undefined;
    const bytes = "blob" in begun ? new Uint8Array(await begun.blob.slice(0, BLOCK).arrayBuffer()) : begun.bytes;
    if (stored && !startsLike(name, bytes, format)) return stored();
    checkStart(String(url), bytes, format);
    const version = { ...begun.version, size: blob?.size ?? (begun.version.size as number) };
    const server = blob ? new WholeFile(blob) : new Ranges(url, version, this.#reading);
    let file = kept && (first === undefined || stored) && sameVersion(kept.version, version) ? kept : undefined;
    await file?.confirm(version);
    const replaced = file ? undefined : kept;
    if (cache) file ??= await CachedFile.begin(url.href, this.#source, version);
    this.#begun(url, file);
    this.#pending.push(async () => {
      await replaced?.drop();
      await file?.write(0, bytes);
      if (file?.full) await this.#full(file);
    });
    return new BlockSource(name, version.size, { kept: file, server, files: this, signal }, bytes);
  }

  #stored(url: URL, name: string, kept: CachedFile, first: Uint8Array): BlockSource {
    const server = new Ranges(url, kept.version, this.#reading);
    return new BlockSource(name, kept.size, { kept, server, files: this, signal: this.#reading.signal }, first);
  }

  /** Notes a file that the server has just sent. */
  #begun(url: URL, file: CachedFile | undefined): void {
    this.#compared.add(url.href);
    if (file) this.#cached.set(url.href, file);
  }

  /** Returns a file of the cache; `outdated` is `true` if the server has another version by now. */
  async #find(url: URL): Promise<{ kept?: CachedFile; outdated?: boolean }> {
    const kept = this.#reading.cache ? await CachedFile.find(url.href) : undefined;
    if (!kept) return {};
    this.#cached.set(url.href, kept);
    return { kept, outdated: !kept.fresh && (await this.#differs(url, kept)) };
  }

  /** Compares a file with the server's. If that cannot be read, they count as equal. */
  async #differs(url: URL, kept: CachedFile): Promise<boolean> {
    if (this.#compared.has(url.href)) return false;
    this.#compared.add(url.href);
    const { signal, headers, fetch, timeout } = this.#reading;
    const version = await askVersion(url, { signal, headers, fetch, timeout });
    if (!version) return false;
    if (!sameVersion(kept.version, version)) return true;
    await kept.confirm(version);
    return false;
  }

  /** Compares all files of the cache with the server's. Returns `true` if one differs; the next load downloads it. */
  async compare(): Promise<boolean> {
    const all = [...this.#cached].map(async ([url, kept]) => {
      const differs = await this.#differs(new URL(url), kept);
      if (differs) await kept.expire();
      return differs;
    });
    return (await Promise.all(all)).includes(true);
  }

  /** Removes the files from the cache, if some were downloaded. */
  async forget(): Promise<void> {
    if (!this.#fetched) return;
    for (const file of this.#cached.values()) await file.drop();
  }

  /** Reports once that the storage has no room for a file. */
  async #full(file: CachedFile): Promise<void> {
    if (this.#toldFull) return;
    this.#toldFull = true;
    const error = await quotaError(this.#source, file.missing);
    if (this.#reading.onFull) this.#reading.onFull(error);
    else console.warn(`foveate: ${error.message}`);
  }

  /** Reads a block of a file: from the cache, or from the server into the cache. */
  async block(index: number, { kept, server, signal }: Origins): Promise<Uint8Array> {
    const stored = await kept?.read(index);
    if (stored) return stored;
    if (!kept) return server.fetch(index);
    try {
      return await kept.downloading(index, signal, async () => {
        const meanwhile = await kept.readAgain(index);
        if (meanwhile) return meanwhile;
        throwIfAborted(signal);
        const bytes = await server.fetch(index);
        await kept.write(index, bytes);
        if (kept.full) await this.#full(kept);
        return bytes;
      });
    } catch (error) {
      if ((error as FoveateError).reason === "changed") await kept.drop();
      throw error;
    }
  }
}

/** Milliseconds to wait for a file that probably does not exist. */
const LENIENT_TIMEOUT = 5000;

/** Returns `true` if a small file may be kept: JSON that can be read, or a template. */
function isSound(url: URL, bytes: Uint8Array): boolean {
  if (bytes.length === 0) return false;
  if (!url.pathname.endsWith(".json")) return true;
  try {
    JSON.parse(new TextDecoder().decode(bytes));
    return true;
  } catch {
    return false;
  }
}

/** Returns the bytes of a small file of the cache, if all are there. */
async function wholeOf(kept: CachedFile): Promise<Uint8Array | undefined> {
  const blocks = await Promise.all(Array.from({ length: Math.ceil(kept.size / BLOCK) }, (_, i) => kept.read(i)));
  if (!blocks.every((block) => block)) return undefined;
  return new Uint8Array(await new Blob(blocks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

function startsLike(name: string, bytes: Uint8Array, format: Format): boolean {
  try {
    checkStart(name, bytes, format);
    return true;
  } catch {
    return false;
  }
}

/** A file in blocks of `BLOCK` bytes; the last block may be shorter. */
interface Blocks {
  fetch(index: number): Promise<Uint8Array>;
}

class WholeFile implements Blocks {
  readonly #blob: Blob;

  constructor(blob: Blob) {
    this.#blob = blob;
  }

  async fetch(index: number): Promise<Uint8Array> {
    return new Uint8Array(await this.#blob.slice(index * BLOCK, (index + 1) * BLOCK).arrayBuffer());
  }
}

class Ranges implements Blocks {
  readonly #url: URL;
  readonly #version: SizedVersion;
  readonly #reading: Reading;
  /** The file as a whole, once the server answered so. */
  #whole: WholeFile | undefined;

  constructor(url: URL, version: SizedVersion, reading: Reading) {
    this.#url = url;
    this.#version = version;
    this.#reading = reading;
  }

  async fetch(index: number): Promise<Uint8Array> {
    if (this.#whole) return this.#whole.fetch(index);
    const from = index * BLOCK;
    const to = Math.min(from + BLOCK, this.#version.size);
    const got = await range(this.#url, from, to, this.#version, this.#reading);
    if (!("blob" in got)) return got;
    if (!sameVersion(this.#version, got.version, false)) throw changed(this.#url, "its version differs");
    this.#whole = new WholeFile(got.blob);
    return this.#whole.fetch(index);
  }
}

/** The places that a file is read from: its copy in the cache, and the server. */
interface Origins {
  readonly kept: CachedFile | undefined;
  readonly server: Blocks;
  readonly files: Files;
  readonly signal: AbortSignal | undefined;
}

/** Blocks kept in memory. The tensors of a layer are neighbours in a file, but are not read in the order of the file. */
const KEPT = 8;
/** Blocks that `download` fetches at once. */
const AT_ONCE = 4;

/** A large file. */
export class BlockSource implements JsSource {
  readonly name: string;
  readonly size: number;
  readonly #origins: Origins;
  /** Blocks by index, the most recently used last. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

  constructor(name: string, size: number, origins: Origins, first: Uint8Array) {
    this.name = name;
    this.size = size;
    this.#origins = origins;
    this.#blocks.set(0, Promise.resolve(first));
  }

  /** Bytes that are not in the cache. */
  get missing(): number {
    return this.#origins.kept?.missing ?? this.size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK);
      const block = this.#block(index);
      for (let next = index + 1; next <= index + this.#origins.files.ahead && next * BLOCK < this.size; next++) {
        if (!this.#blocks.has(next)) this.#block(next).catch(() => {});
      }
      const bytes = await block.catch((error) => {
        if (error instanceof FoveateError) this.#origins.files.failure = error;
        throw error;
      });
      const from = at - index * BLOCK;
      const take = Math.min(bytes.length - from, end - at);
      if (take <= 0) throw new FoveateError("read", `cannot read ${this.name}: the file ends at byte ${at}, expected ${end}`);
      out.set(bytes.subarray(from, from + take), at - offset);
      at += take;
    }
    return out;
  }

  /** Stores all blocks in the cache. Calls `hear` after each. */
  async download(hear: () => void): Promise<void> {
    const count = Math.ceil(this.size / BLOCK);
    let next = 0;
    const worker = async () => {
      while (next < count) {
        throwIfAborted(this.#origins.signal);
        await this.#origins.files.block(next++, this.#origins);
        hear();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  #block(index: number): Promise<Uint8Array> {
    let block = this.#blocks.get(index);
    this.#blocks.delete(index);
    if (!block) {
      block = this.#origins.files.block(index, this.#origins);
      block.catch(() => this.#blocks.delete(index));
    }
    this.#blocks.set(index, block);
    for (const old of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT) break;
      this.#blocks.delete(old);
    }
    return block;
  }
}
