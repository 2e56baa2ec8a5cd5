/** Where a model's files come from: ranges of a URL, or slices of a `File`. */

import type { JsFiles, JsSource } from "../pkg/foveate.js";
import { BLOCK, CachedFile } from "./cache.js";
import { FoveateError, throwIfAborted } from "./error.js";

/** What can be sent to a worker, and is one file, all parts of a GGUF model or all files of a folder. */
export type OpenSource = string | readonly string[] | Blob | readonly File[];

/** How files of a server are read. */
export interface Reading {
  readonly signal?: AbortSignal | undefined;
  /** Keep what is downloaded, and take what was kept. */
  readonly cache?: boolean;
  /** Hears of bytes that came from the network. */
  readonly onFetched?: (bytes: number) => void;
}

/** Opens the files of a model without reading the weights. */
export async function openSource(source: OpenSource, reading: Reading): Promise<JsFiles> {
  if (source instanceof Blob) return { gguf: [new BlobSource(source, nameOf(source))] };
  if (typeof source !== "string") return areAddresses(source) ? openParts(source, reading) : openFiles(source);
  const url = address(source);
  const files = new Files(source, reading);
  if (!url.pathname.toLowerCase().endsWith(".gguf")) return openFolder(url, files);
  return { gguf: await Promise.all(partsOf(url).map((part) => files.open(part))) };
}

const areAddresses = (source: readonly string[] | readonly File[]): source is readonly string[] =>
  source.length > 0 && typeof source[0] === "string";

/** A GGUF model whose parts are named one by one. */
async function openParts(parts: readonly string[], reading: Reading): Promise<JsFiles> {
  const files = new Files(parts[0] ?? "", reading);
  return { gguf: await Promise.all(parts.map((part) => files.open(address(part)))) };
}

/** Parts of a split model at most: a name is a stranger's. */
const MOST_PARTS = 1000;

/** The addresses of all parts of a split model, of which one is given: `NAME-00001-of-00003.gguf`. */
function partsOf(url: URL): URL[] {
  const [, stem, number, of] = url.pathname.match(/^(.*)-(\d{5})-of-(\d{5})\.gguf$/) ?? [];
  const count = Number(of ?? 1);
  if (of === undefined || Number(number) < 1 || Number(number) > count || count > MOST_PARTS) return [url];
  return Array.from({ length: count }, (_, index) => {
    const part = new URL(url);
    part.pathname = `${stem}-${String(index + 1).padStart(5, "0")}-of-${of}.gguf`;
    return part;
  });
}

/** A file with known results and, where they are those of a model, its files. */
export async function openCase(
  source: string | Blob,
  signal?: AbortSignal,
): Promise<{ golden: JsSource; files?: JsFiles }> {
  if (source instanceof Blob) return { golden: new BlobSource(source, nameOf(source)) };
  const url = address(source);
  const server = new Files(source, { signal });
  if (!url.pathname.endsWith("/")) return { golden: await server.open(url) };
  const [golden, files] = await Promise.all([
    server.open(new URL("golden.safetensors", url)),
    openFolder(url, server),
  ]);
  return { golden, files };
}

function address(source: string | URL): URL {
  try {
    return new URL(source, globalThis.location?.href);
  } catch (error) {
    throw new FoveateError("read", `${String(source)} is no URL`, { cause: error });
  }
}

const nameOf = (blob: Blob) => (blob as Partial<File>).name ?? "the file";

/** A tensor file may have this many shards at most: an index is a stranger's file. */
const MOST_SHARDS = 1000;

/** Names of the shards that `model.safetensors.index.json` lists. */
function shardNames(index: Uint8Array): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(new TextDecoder().decode(index)) as { weight_map?: unknown }).weight_map;
  } catch (error) {
    throw new FoveateError("format", "model.safetensors.index.json is damaged: it is no JSON", { cause: error });
  }
  const names = [...new Set(Object.values((map ?? {}) as object))] as unknown[];
  const plain = (name: unknown) => typeof name === "string" && /^[\w.-]+\.safetensors$/.test(name);
  if (names.length === 0 || names.length > MOST_SHARDS || !names.every(plain)) {
    throw new FoveateError("format", "model.safetensors.index.json is damaged: its weight_map names no shards");
  }
  return names as string[];
}

async function openFolder(folder: URL, files: Files): Promise<JsFiles> {
  const base = new URL(folder);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const at = (name: string) => {
    const url = new URL(name, base);
    url.search = base.search;
    return url;
  };
  const small = (name: string) => files.whole(at(name));
  const [config, generation, tokenizer, tokenizerConfig, template, index] = await Promise.all([
    small("config.json"),
    small("generation_config.json"),
    small("tokenizer.json"),
    small("tokenizer_config.json"),
    small("chat_template.jinja"),
    small("model.safetensors.index.json"),
  ]);
  if (!config) throw new FoveateError("read", `cannot read ${at("config.json")}: it is not there`);
  const shards = index ? shardNames(index) : ["model.safetensors"];
  const weights = await Promise.all(shards.map((name) => files.open(at(name))));
  const beside = await older(small, tokenizerConfig, template);
  return { config, generation, tokenizer, tokenizerConfig, template: text(template), weights, ...beside };
}

/** Files that older folders have, where the newer ones do not say it: they are not asked for otherwise. */
async function older(
  small: (name: string) => Promise<Uint8Array | undefined>,
  tokenizerConfig: Uint8Array | undefined,
  template: Uint8Array | undefined,
): Promise<Pick<JsFiles, "specialTokensMap" | "addedTokens" | "templateJson">> {
  const config = text(tokenizerConfig);
  if (config === undefined) return {};
  const listed = config.includes('"added_tokens_decoder"');
  const written = template !== undefined || config.includes('"chat_template"');
  const [specialTokensMap, addedTokens, templateJson] = await Promise.all([
    listed ? undefined : small("special_tokens_map.json"),
    listed ? undefined : small("added_tokens.json"),
    written ? undefined : small("chat_template.json"),
  ]);
  return { specialTokensMap, addedTokens, templateJson };
}

async function openFiles(files: readonly File[]): Promise<JsFiles> {
  const gguf = files.filter((file) => file.name.toLowerCase().endsWith(".gguf"));
  if (gguf.length > 0) return { gguf: gguf.map((file) => new BlobSource(file, file.name)) };
  const small = async (name: string) => {
    const file = files.find((file) => file.name === name);
    return file && new BlobSource(file, name).read(0, file.size);
  };
  // A file with all weights wins over shards that lie beside it from another time.
  const whole = files.filter((file) => file.name === "model.safetensors");
  const weights = whole.length > 0 ? whole : files.filter((file) => file.name.endsWith(".safetensors"));
  const tokenizerConfig = await small("tokenizer_config.json");
  const template = await small("chat_template.jinja");
  return {
    config: await small("config.json"),
    generation: await small("generation_config.json"),
    tokenizer: await small("tokenizer.json"),
    tokenizerConfig,
    template: text(template),
    ...(await older(small, tokenizerConfig, template)),
    weights: weights.map((file) => new BlobSource(file, file.name)),
  };
}

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

class BlobSource implements JsSource {
  readonly name: string;
  readonly size: number;
  readonly #blob: Blob;

  constructor(blob: Blob, name: string) {
    this.#blob = blob;
    this.name = name;
    this.size = blob.size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return new Uint8Array(await this.#blob.slice(offset, offset + length).arrayBuffer());
  }
}

/** Tries of a request that fails for a reason that may pass, and the wait before the second, in ms. */
const TRIES = 3;
const PATIENCE = 300;

async function request(url: URL, init: RequestInit, signal?: AbortSignal): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal);
    let reason: string;
    try {
      const response = await fetch(url, signal ? { ...init, signal } : init);
      const passing = response.status >= 500 || response.status === 429;
      if (!passing || attempt === TRIES) return response;
      await response.body?.cancel();
      reason = `status ${response.status}`;
    } catch (error) {
      throwIfAborted(signal);
      reason = error instanceof Error ? error.message : String(error);
      if (attempt === TRIES) throw new FoveateError("read", `cannot read ${url}: ${reason}`, { cause: error });
    }
    await new Promise((resolve) => setTimeout(resolve, PATIENCE * attempt));
  }
}

/** A part of a large file. The browser's own cache would keep it twice, and let requests of one file wait for each other. */
const part = (range: string): RequestInit => ({ headers: { Range: `bytes=${range}` }, cache: "no-store" });

const refused = (url: URL, response: Response) =>
  new FoveateError("read", `cannot read ${url}: status ${response.status} ${response.statusText}`.trimEnd());

/** The size that a server tells of a file, from an answer to a range of it. */
async function sizeOf(url: URL, response: Response, signal?: AbortSignal): Promise<number> {
  let size = Number(response.headers.get("Content-Range")?.match(/\/(\d+)$/)?.[1] ?? NaN);
  if (Number.isNaN(size)) {
    // Other origins show Content-Range only if they say so, Content-Length always.
    const head = await request(url, { method: "HEAD" }, signal);
    size = Number(head.headers.get("Content-Length") ?? NaN);
  }
  if (!Number.isSafeInteger(size)) throw new FoveateError("read", `cannot read ${url}: the server hides its size`);
  return size;
}

/** The files of one model on a server, and in the cache. */
class Files {
  readonly #source: string;
  readonly #reading: Reading;

  constructor(source: string, reading: Reading) {
    this.#source = source;
    this.#reading = reading;
  }

  /** A small file as a whole; `undefined` if there is none. */
  async whole(url: URL): Promise<Uint8Array | undefined> {
    const { signal, cache, onFetched } = this.#reading;
    const kept = cache ? await CachedFile.find(url.href) : undefined;
    if (kept?.absent) return undefined;
    const blocks = kept ? await Promise.all([...Array(Math.ceil(kept.size / BLOCK)).keys()].map((i) => kept.read(i))) : [];
    if (kept && blocks.every((block) => block)) return joined(blocks as Uint8Array[]);
    const response = await request(url, {}, signal);
    // Storage services answer 403 for what does not exist, development servers with the page itself.
    const missing = response.status === 404 || response.status === 403;
    if (!missing && !response.ok) throw refused(url, response);
    if (missing || response.headers.get("Content-Type")?.startsWith("text/html")) {
      if (cache && !url.pathname.endsWith("/config.json")) await CachedFile.begin(url.href, this.#source, 0, true);
      return undefined;
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    onFetched?.(bytes.length);
    const file = cache ? await CachedFile.begin(url.href, this.#source, bytes.length) : undefined;
    for (let at = 0; file && at < bytes.length; at += BLOCK) {
      await file.write(at / BLOCK, bytes.subarray(at, at + BLOCK));
    }
    return bytes;
  }

  /**
   * A large file. Servers without ranges send it once, as a whole, into a `Blob`: browsers keep those outside of the
   * page's and the wasm's memory.
   */
  async open(url: URL): Promise<JsSource> {
    const { signal, cache, onFetched } = this.#reading;
    const name = decodeURIComponent(url.pathname.split("/").pop() || url.pathname);
    const kept = cache ? await CachedFile.find(url.href) : undefined;
    if (kept && !kept.absent) return new BlockSource(name, kept.size, kept, new Ranges(url, kept.size, this.#reading));
    const response = await request(url, part("0-0"), signal);
    if (response.status !== 206 && response.status !== 200) throw refused(url, response);
    let server: Blocks;
    if (response.status === 200) {
      const blob = await response.blob();
      onFetched?.(blob.size);
      server = new WholeFile(blob);
    } else {
      await response.body?.cancel();
      server = new Ranges(url, await sizeOf(url, response, signal), this.#reading);
    }
    const file = cache ? await CachedFile.begin(url.href, this.#source, server.size) : undefined;
    return new BlockSource(name, server.size, file, server);
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A file in blocks of `BLOCK` bytes, the last one shorter. */
interface Blocks {
  readonly size: number;
  fetch(index: number): Promise<Uint8Array>;
}

class WholeFile implements Blocks {
  readonly size: number;
  readonly #blob: Blob;

  constructor(blob: Blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  async fetch(index: number): Promise<Uint8Array> {
    return new Uint8Array(await this.#blob.slice(index * BLOCK, (index + 1) * BLOCK).arrayBuffer());
  }
}

class Ranges implements Blocks {
  readonly size: number;
  readonly #url: URL;
  readonly #reading: Reading;

  constructor(url: URL, size: number, reading: Reading) {
    this.#url = url;
    this.size = size;
    this.#reading = reading;
  }

  async fetch(index: number): Promise<Uint8Array> {
    const start = index * BLOCK;
    const end = Math.min(start + BLOCK, this.size);
    const response = await request(this.#url, part(`${start}-${end - 1}`), this.#reading.signal);
    let bytes: Uint8Array;
    if (response.status === 206) bytes = new Uint8Array(await response.arrayBuffer());
    // A cache that was filled from a server with ranges may be mended from one without.
    else if (response.status === 200) bytes = new Uint8Array(await (await response.blob()).slice(start, end).arrayBuffer());
    else throw refused(this.#url, response);
    if (bytes.length !== end - start) {
      const got = `asked for ${end - start} bytes from ${start} on, got ${bytes.length}`;
      throw new FoveateError("read", `cannot read ${this.#url}: ${got}`);
    }
    this.#reading.onFetched?.(bytes.length);
    return bytes;
  }
}

/** Blocks that are kept in memory: a layer's tensors lie together, but not in the order they are asked for. */
const KEPT = 8;
/** Blocks that are on their way while one is used. */
const AHEAD = 3;

class BlockSource implements JsSource {
  readonly name: string;
  readonly size: number;
  readonly #cached: CachedFile | undefined;
  readonly #server: Blocks;
  /** By number, the one used last at the end. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

  constructor(name: string, size: number, cached: CachedFile | undefined, server: Blocks) {
    this.name = name;
    this.size = size;
    this.#cached = cached;
    this.#server = server;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK);
      const block = this.#block(index);
      for (let next = index + 1; next <= index + AHEAD && next * BLOCK < this.size; next++) {
        if (!this.#blocks.has(next)) this.#block(next).catch(() => {});
      }
      const bytes = await block;
      const from = at - index * BLOCK;
      const take = Math.min(bytes.length - from, end - at);
      if (take <= 0) throw new FoveateError("read", `cannot read ${this.name}: it ended at byte ${at}`);
      out.set(bytes.subarray(from, from + take), at - offset);
      at += take;
    }
    return out;
  }

  #block(index: number): Promise<Uint8Array> {
    let block = this.#blocks.get(index);
    this.#blocks.delete(index);
    if (!block) {
      block = this.#load(index);
      block.catch(() => this.#blocks.delete(index));
    }
    this.#blocks.set(index, block);
    for (const old of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT) break;
      this.#blocks.delete(old);
    }
    return block;
  }

  async #load(index: number): Promise<Uint8Array> {
    const kept = await this.#cached?.read(index);
    if (kept) return kept;
    const bytes = await this.#server.fetch(index);
    await this.#cached?.write(index, bytes);
    return bytes;
  }
}
