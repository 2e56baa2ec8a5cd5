/** Where a model's files come from: ranges of a URL, or slices of a `File`. */

import type { JsFiles, JsSource } from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";

/**
 * A model: the URL of a `.gguf` file, the URL of a folder with `config.json` and `model.safetensors` (as the hub keeps
 * them), a GGUF `File` or `Blob`, or all files of such a folder.
 */
export type ModelSource = string | URL | Blob | readonly File[];

/** Opens the files of a model without reading the weights. */
export async function openSource(source: ModelSource, signal?: AbortSignal): Promise<JsFiles> {
  if (source instanceof Blob) return { gguf: new BlobSource(source, nameOf(source)) };
  if (Array.isArray(source)) return openFiles(source as readonly File[]);
  const url = address(source as string | URL);
  if (url.pathname.toLowerCase().endsWith(".gguf")) return { gguf: await openUrl(url, signal) };
  return openFolder(url, signal);
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

async function openFolder(folder: URL, signal?: AbortSignal): Promise<JsFiles> {
  const base = new URL(folder);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const at = (name: string) => {
    const url = new URL(name, base);
    url.search = base.search;
    return url;
  };
  const small = (name: string) => download(at(name), signal);
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
  const weights = await Promise.all(shards.map((name) => openUrl(at(name), signal)));
  return { config, generation, tokenizer, tokenizerConfig, template: text(template), weights };
}

async function openFiles(files: readonly File[]): Promise<JsFiles> {
  const gguf = files.find((file) => file.name.toLowerCase().endsWith(".gguf"));
  if (gguf) return { gguf: new BlobSource(gguf, gguf.name) };
  const small = async (name: string) => {
    const file = files.find((file) => file.name === name);
    return file && new BlobSource(file, name).read(0, file.size);
  };
  const weights = files.filter((file) => file.name.endsWith(".safetensors"));
  return {
    config: await small("config.json"),
    generation: await small("generation_config.json"),
    tokenizer: await small("tokenizer.json"),
    tokenizerConfig: await small("tokenizer_config.json"),
    template: text(await small("chat_template.jinja")),
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

const refused = (url: URL, response: Response) =>
  new FoveateError("read", `cannot read ${url}: status ${response.status} ${response.statusText}`.trimEnd());

/** A small file as a whole; `undefined` if there is none. */
async function download(url: URL, signal?: AbortSignal): Promise<Uint8Array | undefined> {
  const response = await request(url, {}, signal);
  // Storage services answer 403 for what does not exist.
  if (response.status === 404 || response.status === 403) return undefined;
  if (!response.ok) throw refused(url, response);
  // Development servers answer with the page itself.
  if (response.headers.get("Content-Type")?.startsWith("text/html")) return undefined;
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * A file behind a URL. Servers without ranges send it once, as a whole, into a `Blob`: browsers keep those outside of
 * the page's and the wasm's memory.
 */
async function openUrl(url: URL, signal?: AbortSignal): Promise<JsSource> {
  const name = decodeURIComponent(url.pathname.split("/").pop() || url.pathname);
  const response = await request(url, { headers: { Range: "bytes=0-0" } }, signal);
  if (response.status === 200) return new BlobSource(await response.blob(), name);
  if (response.status !== 206) throw refused(url, response);
  await response.body?.cancel();
  let size = Number(response.headers.get("Content-Range")?.match(/\/(\d+)$/)?.[1] ?? NaN);
  if (Number.isNaN(size)) {
    // Other origins show Content-Range only if they say so, Content-Length always.
    const head = await request(url, { method: "HEAD" }, signal);
    size = Number(head.headers.get("Content-Length") ?? NaN);
  }
  if (!Number.isSafeInteger(size)) throw new FoveateError("read", `cannot read ${url}: the server hides its size`);
  return new UrlSource(url, name, size, signal);
}

/** Bytes of one request. */
const BLOCK = 4 << 20;
/** Blocks that are kept: a layer's tensors lie together, but not in the order they are asked for. */
const KEPT = 8;

class UrlSource implements JsSource {
  readonly name: string;
  readonly size: number;
  readonly #url: URL;
  readonly #signal: AbortSignal | undefined;
  /** By number, the one used last at the end. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

  constructor(url: URL, name: string, size: number, signal: AbortSignal | undefined) {
    this.#url = url;
    this.name = name;
    this.size = size;
    this.#signal = signal;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK);
      const block = await this.#block(index);
      // The next one is on its way while this one is used.
      if ((index + 1) * BLOCK < this.size) this.#block(index + 1).catch(() => {});
      const from = at - index * BLOCK;
      const take = Math.min(block.length - from, end - at);
      if (take <= 0) throw new FoveateError("read", `cannot read ${this.#url}: it ended at byte ${at}`);
      out.set(block.subarray(from, from + take), at - offset);
      at += take;
    }
    return out;
  }

  #block(index: number): Promise<Uint8Array> {
    let block = this.#blocks.get(index);
    this.#blocks.delete(index);
    if (!block) {
      block = this.#fetch(index);
      block.catch(() => this.#blocks.delete(index));
    }
    this.#blocks.set(index, block);
    for (const old of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT) break;
      this.#blocks.delete(old);
    }
    return block;
  }

  async #fetch(index: number): Promise<Uint8Array> {
    const start = index * BLOCK;
    const end = Math.min(start + BLOCK, this.size);
    const response = await request(this.#url, { headers: { Range: `bytes=${start}-${end - 1}` } }, this.#signal);
    if (response.status !== 206) throw refused(this.#url, response);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length !== end - start) {
      const got = `asked for ${end - start} bytes from ${start} on, got ${bytes.length}`;
      throw new FoveateError("read", `cannot read ${this.#url}: ${got}`);
    }
    return bytes;
  }
}
