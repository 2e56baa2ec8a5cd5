/** Readers of a model's files: ranges of a URL, or slices of a `File`. */

import type { JsFiles, JsSource } from "../pkg/foveate.js";
import { FoveateError } from "./error.js";
import { Files, type Reading } from "./files.js";
import { checkStart, type Format } from "./magic.js";

export type { Reading };

/** A model as it is sent to a worker: one or several addresses, one file, or all files of a folder. */
export type OpenSource = string | readonly string[] | Blob | readonly File[];

/** Errors that a damaged or outdated file may cause. */
const SUSPICIOUS: readonly unknown[] = [
  "read",
  "format",
  "missing-tensor",
  "unused-tensors",
  "tensor-shape",
  "unsupported-tensor-type",
  "unsupported-architecture",
  "config",
  "tokenizer",
  "template",
];

/**
 * Opens a model's files, and passes them to `use`. If a file changes on the server meanwhile, starts again once. If files of
 * the cache do not make a model, compares them with the server's, and starts again if one differs. If downloaded files do
 * not make a model, removes them from the cache. `open` chooses the files: all of the model, or those that {@link openText}
 * opens.
 */
export async function withFiles<T>(
  source: OpenSource,
  reading: Reading,
  use: (files: JsFiles) => Promise<T>,
  open: (source: OpenSource, files: Files) => Promise<JsFiles> = openSource,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const files = new Files(nameOfSource(source), reading);
    try {
      const opened = await open(source, files);
      await files.keep();
      return await use(opened);
    } catch (thrown) {
      const code = (thrown as { code?: unknown } | undefined)?.code;
      // The wasm converts errors of its sources to texts.
      const ours = thrown instanceof FoveateError ? thrown : code === "read" ? files.failure : undefined;
      const suspicious = !ours && SUSPICIOUS.includes(code);
      const again = ours ? ours.reason === "changed" : suspicious && (await files.compare());
      if (again && attempt === 1) continue;
      if (suspicious) await files.forget();
      throw ours ?? thrown;
    }
  }
}

const nameOfSource = (source: OpenSource) => (typeof source === "string" ? source : areAddresses(source) ? (source[0] as string) : "");

/** Opens a model's files. Reads small files, and the beginning of others. */
async function openSource(source: OpenSource, files: Files): Promise<JsFiles> {
  if (source instanceof Blob) return { gguf: [await openBlob(source, nameOf(source), "gguf")] };
  if (typeof source !== "string") return areAddresses(source) ? openListed(source, files) : openFiles(source);
  const url = address(source);
  if (!isGguf(url.pathname)) return openFolder(new ServerFolder(url, files));
  return { gguf: await Promise.all(partsOf(url).map((part) => files.open(part, "gguf"))) };
}

const areAddresses = (source: OpenSource): source is readonly string[] => Array.isArray(source) && source.length > 0 && typeof source[0] === "string";

const isGguf = (name: string) => name.toLowerCase().endsWith(".gguf");

/** Opens a model from the addresses of its parts: a GGUF model, or the files of a folder. */
async function openListed(sources: readonly string[], files: Files): Promise<JsFiles> {
  const urls = sources.map(address);
  const [first] = urls;
  if (urls.length === 1 && first) return openSource(first.href, files);
  if (!urls.some(({ pathname }) => isGguf(pathname))) return openFolder(new ListedFolder(urls, files));
  return { gguf: await Promise.all(urls.map((url) => files.open(url, "gguf"))) };
}

async function openFiles(files: readonly File[]): Promise<JsFiles> {
  const gguf = files.filter(({ name }) => isGguf(name));
  if (gguf.length === 0) return openFolder(new LocalFolder(files));
  return { gguf: await Promise.all(gguf.map((file) => openBlob(file, file.name, "gguf"))) };
}

/** Opens the files with the tokenizer and the chat template of a model: a GGUF file or the first part, or small files. */
export async function openText(source: OpenSource, files: Files): Promise<JsFiles> {
  if (source instanceof Blob) {
    const [first] = new Uint8Array(await source.slice(0, 1).arrayBuffer());
    if (first === OBJECT) return { tokenizer: new Uint8Array(await source.arrayBuffer()) };
    return openSource(source, files);
  }
  if (typeof source === "string") {
    const url = address(source);
    if (isGguf(url.pathname)) return { gguf: [await files.open(partsOf(url)[0] as URL, "gguf")] };
    if (url.pathname.endsWith("/tokenizer.json")) url.pathname = url.pathname.slice(0, -"tokenizer.json".length);
    return textOf(new ServerFolder(url, files, "tokenizer.json"));
  }
  // The first part of a split file has the metadata.
  const nameOf = (part: string | File) => (typeof part === "string" ? address(part).pathname : part.name);
  const [gguf] = [...source].filter((part) => isGguf(nameOf(part))).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  if (gguf !== undefined) return openText(gguf, files);
  return textOf(areAddresses(source) ? new ListedFolder(source.map(address), files) : new LocalFolder(source as readonly File[]));
}

/** `{`, the first byte of a `tokenizer.json`. */
const OBJECT = 0x7b;

/** Maximum number of parts of a split model. The number in a file name is not trusted. */
const MOST_PARTS = 1000;

/** Returns the addresses of all parts of a split model, given one part: `NAME-00001-of-00003.gguf`. */
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

/** Opens a file of expected results and, if they are those of a model, the model's files. */
export async function openCase(
  source: string | Blob,
  signal?: AbortSignal,
): Promise<{ golden: JsSource; files?: JsFiles }> {
  if (source instanceof Blob) return { golden: new BlobSource(source, nameOf(source)) };
  const url = address(source);
  const server = new Files(source, { signal });
  if (!url.pathname.endsWith("/")) return { golden: await server.open(url, "safetensors") };
  const [golden, files] = await Promise.all([
    server.open(new URL("golden.safetensors", url), "safetensors"),
    openFolder(new ServerFolder(url, server)),
  ]);
  return { golden, files };
}

function address(source: string | URL): URL {
  try {
    return new URL(source, globalThis.location?.href);
  } catch (error) {
    throw new FoveateError("read", `${String(source)} is not a valid URL`, { cause: error });
  }
}

const nameOf = (blob: Blob) => (blob as Partial<File>).name ?? "the file";

/** Maximum number of shards. The index comes from a server, so its length is not trusted. */
const MOST_SHARDS = 1000;

/** Returns the shard names in `model.safetensors.index.json`. */
function shardNames(index: Uint8Array): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(new TextDecoder().decode(index)) as { weight_map?: unknown }).weight_map;
  } catch (error) {
    throw new FoveateError("format", "model.safetensors.index.json is damaged: it is not valid JSON", { cause: error });
  }
  const names = [...new Set(Object.values((map ?? {}) as object))] as unknown[];
  const plain = (name: unknown) => typeof name === "string" && /^[\w.-]+\.safetensors$/.test(name);
  if (names.length === 0 || names.length > MOST_SHARDS || !names.every(plain)) {
    throw new FoveateError("format", "model.safetensors.index.json is damaged: weight_map must name 1 to 1000 .safetensors files");
  }
  return names as string[];
}

/** A folder with a model in the layout of a hub. */
interface Folder {
  /** Returns a small file, or `undefined` if there is none. */
  small(name: string): Promise<Uint8Array | undefined>;
  weights(): Promise<JsSource[]>;
}

async function openFolder(folder: Folder): Promise<JsFiles> {
  const [config, generation, weights, texts] = await Promise.all([
    folder.small("config.json"),
    folder.small("generation_config.json"),
    folder.weights(),
    textOf(folder),
  ]);
  return { config, generation, weights, ...texts };
}

/** Opens the files of a folder with the tokenizer and the chat template. */
async function textOf(folder: Folder): Promise<JsFiles> {
  const small = (name: string) => folder.small(name);
  const [tokenizer, tokenizerConfig, template] = await Promise.all([
    small("tokenizer.json"),
    small("tokenizer_config.json"),
    small("chat_template.jinja"),
  ]);
  const beside = tokenizer && (await older(small, tokenizerConfig, template));
  return { tokenizer, tokenizerConfig, template: text(template), ...beside };
}

/** Reads files of older folders, if the newer files lack their contents. They are not requested otherwise. */
async function older(
  small: (name: string) => Promise<Uint8Array | undefined>,
  tokenizerConfig: Uint8Array | undefined,
  template: Uint8Array | undefined,
): Promise<Pick<JsFiles, "specialTokensMap" | "addedTokens" | "templateJson">> {
  const config = text(tokenizerConfig) ?? "";
  const listed = config.includes('"added_tokens_decoder"');
  const written = template !== undefined || config.includes('"chat_template"');
  const [specialTokensMap, addedTokens, templateJson] = await Promise.all([
    listed ? undefined : small("special_tokens_map.json"),
    listed ? undefined : small("added_tokens.json"),
    written ? undefined : small("chat_template.json"),
  ]);
  return { specialTokensMap, addedTokens, templateJson };
}

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

/** A folder on a server. */
class ServerFolder implements Folder {
  readonly #base: URL;
  readonly #files: Files;
  readonly #always: string;
  /** `true` if `#always` is in the cache: the folder was opened before, and the cache has all files that it had then. */
  readonly #before: Promise<boolean>;

  /** `always` is the file that a folder cannot do without. */
  constructor(folder: URL, files: Files, always = "config.json") {
    this.#base = new URL(folder);
    if (!this.#base.pathname.endsWith("/")) this.#base.pathname += "/";
    this.#files = files;
    this.#always = always;
    this.#before = files.has(this.#at(always));
  }

  #at(name: string): URL {
    const url = new URL(name, this.#base);
    url.search = this.#base.search;
    return url;
  }

  async small(name: string): Promise<Uint8Array | undefined> {
    const url = this.#at(name);
    if (name !== this.#always) return this.#files.optional(url, await this.#before);
    try {
      return await this.#files.required(url);
    } catch (error) {
      if (!(error instanceof FoveateError) || error.reason !== "not-found") throw error;
      const { cause, reason } = error;
      throw new FoveateError("read", `${url} does not exist: a model is a .gguf file or a folder with ${name}`, { cause, reason });
    }
  }

  async weights(): Promise<JsSource[]> {
    const index = await this.small("model.safetensors.index.json");
    const shards = index ? shardNames(index) : ["model.safetensors"];
    return Promise.all(shards.map((name) => this.#files.open(this.#at(name), "safetensors")));
  }
}

/** Files of a folder by name. A file with all weights wins over shards beside it, which may be outdated. */
function weightsOf<T>(files: ReadonlyMap<string, T>): [name: string, file: T][] {
  const whole = files.get("model.safetensors");
  return whole === undefined ? [...files].filter(([name]) => name.endsWith(".safetensors")) : [["model.safetensors", whole]];
}

/** A folder as a list of addresses. */
class ListedFolder implements Folder {
  readonly #urls: ReadonlyMap<string, URL>;
  readonly #files: Files;

  constructor(urls: readonly URL[], files: Files) {
    this.#urls = new Map(urls.map((url) => [decodeURIComponent(url.pathname.split("/").pop() ?? ""), url]));
    this.#files = files;
  }

  async small(name: string): Promise<Uint8Array | undefined> {
    const url = this.#urls.get(name);
    return url && this.#files.required(url);
  }

  weights(): Promise<JsSource[]> {
    return Promise.all(weightsOf(this.#urls).map(([, url]) => this.#files.open(url, "safetensors")));
  }
}

/** A folder as a list of files. */
class LocalFolder implements Folder {
  readonly #files: ReadonlyMap<string, File>;

  constructor(files: readonly File[]) {
    this.#files = new Map(files.map((file) => [file.name, file]));
  }

  async small(name: string): Promise<Uint8Array | undefined> {
    const file = this.#files.get(name);
    return file && new Uint8Array(await file.arrayBuffer());
  }

  weights(): Promise<JsSource[]> {
    return Promise.all(weightsOf(this.#files).map(([name, file]) => openBlob(file, name, "safetensors")));
  }
}

async function openBlob(blob: Blob, name: string, format: Format): Promise<JsSource> {
  const source = new BlobSource(blob, name);
  checkStart(name, await source.read(0, Math.min(blob.size, 200)), format);
  return source;
}

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
