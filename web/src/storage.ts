/** Persistent storage of named bytes: the origin private file system, or the Cache API if that is missing. */
export interface Storage {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
  names(): Promise<string[]>;
}

const FOLDER = "foveate";

/** Types that TypeScript's DOM library lacks: files of workers, and iteration of directories. */
interface SyncHandle {
  truncate(size: number): void;
  write(bytes: Uint8Array): number;
  flush(): void;
  close(): void;
}
type FileHandle = FileSystemFileHandle & { createSyncAccessHandle?(): Promise<SyncHandle> };
type Folder = FileSystemDirectoryHandle & { keys(): AsyncIterable<string> };

const isMissing = (error: unknown) => (error as { name?: string })?.name === "NotFoundError";

class PrivateFiles implements Storage {
  readonly #folder: Folder;

  constructor(folder: Folder) {
    this.#folder = folder;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      const file = await (await this.#folder.getFileHandle(name)).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const handle = (await this.#folder.getFileHandle(name, { create: true })) as FileHandle;
    if ("createWritable" in handle) {
      // Replaces the whole file when the stream is closed.
      const stream = await handle.createWritable();
      await stream.write(bytes as Uint8Array<ArrayBuffer>);
      return stream.close();
    }
    const sync = await (handle as FileHandle).createSyncAccessHandle?.();
    if (!sync) throw new Error("this browser cannot write files of the origin private file system");
    try {
      sync.truncate(0);
      sync.write(bytes);
      sync.flush();
    } finally {
      sync.close();
    }
  }

  async remove(name: string): Promise<void> {
    await this.#folder.removeEntry(name).catch((error) => {
      if (!isMissing(error)) throw error;
    });
  }

  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    return names;
  }
}

class CachedResponses implements Storage {
  readonly #cache: Cache;

  constructor(cache: Cache) {
    this.#cache = cache;
  }

  /** Converts a name to an address of a reserved domain, since the Cache API stores addresses. */
  #address = (name: string) => `https://foveate.invalid/${name}`;

  async read(name: string): Promise<Uint8Array | undefined> {
    const response = await this.#cache.match(this.#address(name));
    return response && new Uint8Array(await response.arrayBuffer());
  }

  write(name: string, bytes: Uint8Array): Promise<void> {
    return this.#cache.put(this.#address(name), new Response(bytes as Uint8Array<ArrayBuffer>));
  }

  async remove(name: string): Promise<void> {
    await this.#cache.delete(this.#address(name));
  }

  async names(): Promise<string[]> {
    return (await this.#cache.keys()).map(({ url }) => url.slice(this.#address("").length));
  }
}

/** Opens the storage of this origin. Returns `undefined` in Node.js, in private windows and on pages without TLS. */
export async function openStorage(): Promise<Storage | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    return new PrivateFiles((await root.getDirectoryHandle(FOLDER, { create: true })) as Folder);
  } catch {
    try {
      return new CachedResponses(await caches.open(FOLDER));
    } catch {
      return undefined;
    }
  }
}

/** Milliseconds that a tab waits for another one. */
const LOCK_TIMEOUT = 60_000;

/**
 * Runs `work` while no other work of the same name runs in any tab of this origin; with mode `shared`, no other than shared
 * work. Work that waits for too long runs nevertheless. Where there are no locks, as in Node.js, runs it at once.
 */
export async function withLock<T>(
  name: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  mode: "shared" | "exclusive" = "exclusive",
): Promise<T> {
  const locks = (globalThis.navigator as { readonly locks?: LockManager } | undefined)?.locks;
  if (!locks) return work();
  const end = new AbortController();
  const stop = () => end.abort();
  signal?.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(stop, LOCK_TIMEOUT);
  const settle = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  };
  let begun = false;
  try {
    return await locks.request(`${FOLDER}-${name}`, { signal: end.signal, mode }, () => {
      begun = true;
      settle();
      return work();
    });
  } catch (error) {
    if (begun) throw error;
    return work();
  } finally {
    settle();
  }
}
