/** The models that this origin keeps in this browser. */

import type { AddOptions } from "./add.js";
import { addressOf } from "./address.js";
import { blockBytes, manifests, sweep } from "./blocks.js";
import { openStorage } from "./storage.js";

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

let asked = false;

/** Asks the browser once not to delete the models of this origin when space is short. Does not wait for the answer. */
export function requestPersistence(): void {
  // The type is wrong: pages without TLS have no storage manager, and workers cannot ask.
  const storage = globalThis.navigator?.storage as Partial<StorageManager> | undefined;
  if (asked || !storage?.persist || !storage.persisted) return;
  asked = true;
  storage
    .persisted()
    .then((already) => already || storage.persist?.())
    .catch(() => {});
}

/** Models downloaded by this origin in this browser. */
export const cache = {
  /**
   * Downloads a model, so that it loads from the cache later. A download that was cancelled or failed goes on where it
   * stopped. Loads nothing onto a device.
   *
   * @throws {FoveateError} of code `quota` if the browser's storage has no room, before anything is downloaded if the
   * browser tells how much it has.
   */
  async add(source: string | URL | readonly (string | URL)[], options: AddOptions = {}): Promise<CachedModel> {
    const { add } = await import("./add.js");
    return add(source, options);
  },

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

  /**
   * Deletes a model by its `source`, in any form that `load` takes, except for blocks shared with other models. `hub` is the
   * model hub of names.
   */
  async delete(source: string | URL, { hub }: { readonly hub?: string } = {}): Promise<void> {
    const storage = await openStorage();
    if (!storage) return;
    const names = [String(source), addressOf(source, hub)];
    for (const [name, manifest] of await manifests(storage)) {
      if (names.includes(manifest.source)) await storage.remove(name);
    }
    await sweep(storage);
  },

  /** Deletes all models. */
  async clear(): Promise<void> {
    const storage = await openStorage();
    for (const name of storage ? await storage.names() : []) await storage?.remove(name);
  },
};
