/**
 * The cache of downloaded files. A file is a list of blocks. Each block is stored under the SHA-256 of its bytes and checked
 * against it when read: a damaged block counts as missing. Blocks shared by two files are stored once.
 */

import { FoveateError } from "./error.js";
import { withLock, openStorage, type Storage } from "./storage.js";
import { sameVersion, type SizedVersion, type Version } from "./version.js";

/** Bytes of a block, and of one range request. */
export const BLOCK = 4 << 20;

/** Time after which a file is compared with the server's, in ms. */
const DAY = 24 * 60 * 60 * 1000;

/** A file and its cached blocks. */
interface Manifest {
  readonly url: string;
  /** Address of the model that the file belongs to. */
  readonly source: string;
  readonly size: number;
  readonly etag?: string | undefined;
  readonly modified?: string | undefined;
  /** Time of the last comparison with the server's file. */
  readonly checked?: number;
  /** Hash of each block; `null` for blocks that are not cached. */
  readonly blocks: (string | null)[];
}

async function hash(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const manifestName = async (url: string) => `file-${await hash(new TextEncoder().encode(url))}`;
const blockName = (hash: string) => `block-${hash}`;
/** Size of a block of a file. */
export const blockBytes = (size: number, index: number) => Math.min(BLOCK, size - index * BLOCK);

function parse(bytes: Uint8Array | undefined): Manifest | undefined {
  if (!bytes) return undefined;
  try {
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
    const whole = Number.isSafeInteger(manifest.size) && manifest.size > 0 && Array.isArray(manifest.blocks);
    return whole && manifest.blocks.length === Math.ceil(manifest.size / BLOCK) ? manifest : undefined;
  } catch {
    // The page was closed while the manifest was written.
    return undefined;
  }
}

/** One cached file. Its methods never throw: a failing cache counts as an empty one. */
export class CachedFile {
  readonly #storage: Storage;
  readonly #name: string;
  #manifest: Manifest;
  #writing: Promise<void> | undefined;
  #changed = false;
  #dropped: Promise<void> | undefined;
  /** `true` if the storage is full: nothing more is written. */
  full = false;

  private constructor(storage: Storage, name: string, manifest: Manifest) {
    this.#storage = storage;
    this.#name = name;
    this.#manifest = manifest;
  }

  /** Returns the cached file of an address, or `undefined` if there is none. */
  static async find(url: string): Promise<CachedFile | undefined> {
    try {
      const storage = await openStorage();
      const name = await manifestName(url);
      const manifest = parse(await storage?.read(name));
      return storage && manifest && new CachedFile(storage, name, manifest);
    } catch {
      return undefined;
    }
  }

  /** Adds a file without blocks. */
  static async begin(url: string, source: string, { size, etag, modified }: SizedVersion): Promise<CachedFile | undefined> {
    try {
      const storage = await openStorage();
      if (!storage) return undefined;
      const blocks = new Array<null>(Math.ceil(size / BLOCK)).fill(null);
      const manifest = { url, source, size, etag, modified, checked: Date.now(), blocks };
      return new CachedFile(storage, await manifestName(url), manifest);
    } catch {
      return undefined;
    }
  }

  get size(): number {
    return this.#manifest.size;
  }

  get version(): SizedVersion {
    return this.#manifest;
  }

  /** Bytes that are not cached. */
  get missing(): number {
    return this.#manifest.blocks.reduce((sum, block, i) => sum + (block ? 0 : blockBytes(this.size, i)), 0);
  }

  /** Returns `true` if the file was compared with the server's a short time ago. */
  get fresh(): boolean {
    const age = Date.now() - (this.#manifest.checked ?? 0);
    return age >= 0 && age < DAY;
  }

  /** Notes that the server still has this version. */
  async confirm(version: Version): Promise<void> {
    const { etag = version.etag, modified = version.modified } = this.#manifest;
    this.#manifest = { ...this.#manifest, etag, modified, checked: Date.now() };
    await this.#save().catch(() => {});
  }

  /** Notes that the server may have another version. */
  async expire(): Promise<void> {
    this.#manifest = { ...this.#manifest, checked: 0 };
    await this.#save().catch(() => {});
  }

  /** Removes the file and the blocks that no other file has. */
  drop(): Promise<void> {
    this.#dropped ??= this.#remove();
    return this.#dropped;
  }

  async #remove(): Promise<void> {
    try {
      await this.#writing;
      await this.#storage.remove(this.#name);
      await sweep(this.#storage);
    } catch {
      // The next download replaces the remaining blocks.
    }
  }

  /** Returns a block, or `undefined` if it is missing or damaged. */
  async read(index: number): Promise<Uint8Array | undefined> {
    const wanted = this.#manifest.blocks[index];
    if (!wanted) return undefined;
    try {
      const bytes = await this.#storage.read(blockName(wanted));
      if (bytes && bytes.length === blockBytes(this.size, index) && (await hash(bytes)) === wanted) return bytes;
      await this.#storage.remove(blockName(wanted));
    } catch {
      // An unreadable block counts as missing.
    }
    this.#manifest.blocks[index] = null;
    return undefined;
  }

  /** Returns a block that another tab has stored meanwhile. */
  async readAgain(index: number): Promise<Uint8Array | undefined> {
    try {
      this.#merge(parse(await this.#storage.read(this.#name)));
    } catch {
      return undefined;
    }
    return this.read(index);
  }

  /** Runs `work` while no other tab downloads the same block. */
  downloading<T>(index: number, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return withLock(`${this.#name}-${index}`, signal, work);
  }

  /** Stores a block. */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    if (this.full || this.#dropped) return;
    try {
      const name = await hash(bytes);
      const store = async () => {
        await this.#storage.write(blockName(name), bytes);
        this.#manifest.blocks[index] = name;
        await this.#save();
      };
      await withLock(SWEEP, undefined, store, "shared");
    } catch (error) {
      // Loading goes on without the cache.
      this.full ||= (error as { name?: unknown } | undefined)?.name === "QuotaExceededError";
    }
  }

  /** Takes over the blocks of another tab's manifest of the same version. */
  #merge(other: Manifest | undefined): void {
    if (!other || !sameVersion(this.#manifest, other)) return;
    const { blocks } = this.#manifest;
    blocks.forEach((block, i) => (blocks[i] = block ?? other.blocks[i] ?? null));
  }

  /** Writes the manifest. Changes made while it is written are written together. */
  #save(): Promise<void> {
    this.#changed = true;
    this.#writing ??= (async () => {
      while (this.#changed && !this.#dropped) {
        this.#changed = false;
        await withLock(this.#name, undefined, async () => {
          this.#merge(parse(await this.#storage.read(this.#name)));
          await this.#storage.write(this.#name, new TextEncoder().encode(JSON.stringify(this.#manifest)));
        });
      }
    })().finally(() => (this.#writing = undefined));
    return this.#writing;
  }
}

/** Returns the manifests of all files by name. */
export async function manifests(storage: Storage): Promise<Map<string, Manifest>> {
  const found = new Map<string, Manifest>();
  for (const name of await storage.names()) {
    const manifest = name.startsWith("file-") ? parse(await storage.read(name)) : undefined;
    if (manifest) found.set(name, manifest);
  }
  return found;
}

/** Name of the lock that keeps blocks from being removed before the manifest that lists them is stored. */
const SWEEP = "sweep";

/** Removes blocks that belong to no file. */
export const sweep = (storage: Storage): Promise<void> => withLock(SWEEP, undefined, () => swept(storage));

async function swept(storage: Storage): Promise<void> {
  const kept = new Set<string | null>();
  for (const { blocks } of (await manifests(storage)).values()) for (const block of blocks) kept.add(block);
  for (const name of await storage.names()) {
    if (name.startsWith("block-") && !kept.has(name.slice("block-".length))) await storage.remove(name);
  }
}

/** Returns the space that this origin may still use in bytes, if the browser tells. */
export async function freeSpace(): Promise<{ free: number; quota: number } | undefined> {
  const { quota, usage } = (await globalThis.navigator?.storage?.estimate?.().catch(() => undefined)) ?? {};
  return quota === undefined || usage === undefined ? undefined : { free: Math.max(0, quota - usage), quota };
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Returns the error of a full storage. `needed` is the number of bytes that are still to be stored. */
export async function quotaError(what: string, needed: number): Promise<FoveateError> {
  const left = await freeSpace();
  // Some browsers report more free space than they have.
  const told = left && left.free < needed;
  const has = told ? `this origin has ${megabytes(left.free)} of ${megabytes(left.quota)} left` : "the browser's storage is full";
  const why = `it needs ${megabytes(needed)} more, and ${has}: delete models with cache.delete(source), or free space on the device`;
  return new FoveateError("quota", `${what} cannot be kept: ${why}`);
}
