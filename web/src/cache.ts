/**
 * Files that were downloaded. A file is a list of blocks, each stored under the SHA-256 of its bytes and checked against
 * it when it is read: what is damaged counts as absent, and what two files share is there once.
 */

import { openStorage, type Storage } from "./storage.js";

/** Bytes of a block, and of one request. */
export const BLOCK = 4 << 20;

/** A file, as far as it is there. */
interface Manifest {
  readonly url: string;
  /** The address of the model that it belongs to. */
  readonly source: string;
  readonly size: number;
  /** The server said that there is no such file. */
  readonly absent?: boolean;
  /** Hashes by the numbers of blocks; `null` where one is not there. */
  readonly blocks: (string | null)[];
}

/** A model in the cache. */
export interface CachedModel {
  /** The address that it was loaded from. */
  readonly source: string;
  /** Bytes that are there, and that all files have which were begun. */
  readonly bytes: number;
  readonly of: number;
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
    // It was cut off while it was written.
    return undefined;
  }
}

/** One file in the cache; it never throws: a cache that fails is one that has nothing. */
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

  /** The file of an address, if anything of it is known. */
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

  /** A file of which nothing is there yet. */
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

  /** The bytes of a block, if they are there and undamaged. */
  async read(index: number): Promise<Uint8Array | undefined> {
    const wanted = this.#manifest.blocks[index];
    if (!wanted) return undefined;
    try {
      const bytes = await this.#storage.read(blockName(wanted));
      if (bytes && bytes.length === blockBytes(this.size, index) && (await hash(bytes)) === wanted) return bytes;
      await this.#storage.remove(blockName(wanted));
    } catch {
      // As if it were not there.
    }
    this.#manifest.blocks[index] = null;
    return undefined;
  }

  /** Keeps a block. */
  async write(index: number, bytes: Uint8Array): Promise<void> {
    try {
      const name = await hash(bytes);
      await this.#storage.write(blockName(name), bytes);
      this.#manifest.blocks[index] = name;
      await this.#save();
    } catch {
      // The disk is full, or another tab writes the same.
    }
  }

  /** Writes the manifest, once for all changes that come while it is written. */
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

/** The models that were downloaded in this browser, for this origin. */
export const cache = {
  /** What is there. */
  async list(): Promise<CachedModel[]> {
    const storage = await openStorage();
    const models = new Map<string, { source: string; bytes: number; of: number; complete: boolean }>();
    for (const { source, size, blocks } of storage ? (await manifests(storage)).values() : []) {
      const model = models.get(source) ?? { source, bytes: 0, of: 0, complete: true };
      models.set(source, model);
      model.of += size;
      blocks.forEach((block, i) => (model.bytes += block ? blockBytes(size, i) : 0));
      model.complete = model.bytes === model.of;
    }
    return [...models.values()];
  },

  /** Forgets a model, by its `source`, and what no other model shares with it. */
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

  /** Forgets everything. */
  async clear(): Promise<void> {
    const storage = await openStorage();
    for (const name of storage ? await storage.names() : []) await storage?.remove(name);
  },
};
