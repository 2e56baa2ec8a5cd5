/**
 * The cache of downloaded files. A file is a list of blocks. Each block is stored under the SHA-256 of its bytes and checked
 * against it when read: a damaged block counts as missing. Blocks shared by two files are stored once.
 */

import { openStorage, type Storage } from "./storage.js";

/** Bytes of a block, and of one range request. */
export const BLOCK = 4 << 20;

/** A file and its cached blocks. */
interface Manifest {
  readonly url: string;
  /** Address of the model that the file belongs to. */
  readonly source: string;
  readonly size: number;
  /** `true` if the server reported that the file does not exist. */
  readonly absent?: boolean;
  /** Hash of each block; `null` for blocks that are not cached. */
  readonly blocks: (string | null)[];
}

/** A model in the cache. */
export interface CachedModel {
  /** Address that the model was loaded from. */
  readonly source: string;
  /** Bytes in the cache. */
  readonly cachedBytes: number;
  /** Size of all files of the model that were opened. */
  readonly totalBytes: number;
  /** `true` if all of `totalBytes` is cached. */
  readonly complete: boolean;
}

async function hash(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const manifestName = async (url: string) => `file-${await hash(new TextEncoder().encode(url))}`;
const blockName = (hash: string) => `block-${hash}`;
const blockBytes = (size: number, index: number) => Math.min(BLOCK, size - index * BLOCK);

function parse(bytes: Uint8Array | undefined): Manifest | undefined {
  if (!bytes) return undefined;
  try {
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
    const whole = Number.isSafeInteger(manifest.size) && Array.isArray(manifest.blocks);
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
  static async begin(url: string, source: string, size: number, absent = false): Promise<CachedFile | undefined> {
    try {
      const storage = await openStorage();
      if (!storage) return undefined;
      const blocks = new Array<null>(Math.ceil(size / BLOCK)).fill(null);
      const file = new CachedFile(storage, await manifestName(url), { url, source, size, blocks, absent });
      await file.#save();
      return file;
    } catch {
      return undefined;
    }
  }

  get size(): number {
    return this.#manifest.size;
  }

  get absent(): boolean {
    return this.#manifest.absent === true;
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

  /** Stores a block. */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    try {
      const name = await hash(bytes);
      await this.#storage.write(blockName(name), bytes);
      this.#manifest.blocks[index] = name;
      await this.#save();
    } catch {
      // The disk is full, or another tab writes the same file. Loading goes on without the cache.
    }
  }

  /** Writes the manifest. Changes made while it is written are written together. */
  #save(): Promise<void> {
    this.#changed = true;
    this.#writing ??= (async () => {
      while (this.#changed) {
        this.#changed = false;
        await this.#storage.write(this.#name, new TextEncoder().encode(JSON.stringify(this.#manifest)));
      }
    })().finally(() => (this.#writing = undefined));
    return this.#writing;
  }
}

async function manifests(storage: Storage): Promise<Map<string, Manifest>> {
  const found = new Map<string, Manifest>();
  for (const name of await storage.names()) {
    const manifest = name.startsWith("file-") ? parse(await storage.read(name)) : undefined;
    if (manifest) found.set(name, manifest);
  }
  return found;
}

/** Models downloaded by this origin in this browser. */
export const cache = {
  /** Lists the cached models, incomplete ones included. */
  async list(): Promise<CachedModel[]> {
    const storage = await openStorage();
    const models = new Map<string, { source: string; cachedBytes: number; totalBytes: number; complete: boolean }>();
    for (const { source, size, blocks } of storage ? (await manifests(storage)).values() : []) {
      const model = models.get(source) ?? { source, cachedBytes: 0, totalBytes: 0, complete: true };
      models.set(source, model);
      model.totalBytes += size;
      blocks.forEach((block, i) => (model.cachedBytes += block ? blockBytes(size, i) : 0));
      model.complete = model.cachedBytes === model.totalBytes;
    }
    return [...models.values()];
  },

  /** Deletes a model by its `source`, except for blocks shared with other models. */
  async delete(source: string): Promise<void> {
    const storage = await openStorage();
    if (!storage) return;
    const kept = new Set<string | null>();
    for (const [name, manifest] of await manifests(storage)) {
      if (manifest.source === source) await storage.remove(name);
      else for (const block of manifest.blocks) kept.add(block);
    }
    for (const name of await storage.names()) {
      if (name.startsWith("block-") && !kept.has(name.slice("block-".length))) await storage.remove(name);
    }
  },

  /** Deletes all models. */
  async clear(): Promise<void> {
    const storage = await openStorage();
    for (const name of storage ? await storage.names() : []) await storage?.remove(name);
  },
};
