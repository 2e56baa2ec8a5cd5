// The loaded model. Another one replaces it only when it is ready, so a failed or wrong file changes nothing.

import { load } from "foveate";
import { Kv } from "./kv.js";

export class Host extends EventTarget {
  model;
  /** Sessions of the model. */
  kv;
  /** The loaded model as it was asked for: `{ name, source, bytes }`. */
  entry;
  #loading;

  /** The entry that is being loaded. */
  get loading() {
    return this.#loading?.entry;
  }

  cancel() {
    this.#loading?.controller.abort();
  }

  /** Frees the loaded model. */
  unload() {
    this.model?.dispose();
    this.model = this.kv = this.entry = undefined;
    this.#tell("change");
  }

  /**
   * Loads a model. `onProgress` gets the package's progress. Throws what `load` throws, with the code `cancelled` if another
   * model was asked for meanwhile.
   */
  async open(entry, { device, context, onProgress }) {
    this.cancel();
    const mine = { entry, controller: new AbortController() };
    this.#loading = mine;
    this.#tell("change");
    const { signal } = mine.controller;
    let loaded;
    try {
      const began = performance.now();
      let bytes = 0;
      let fetched = 0;
      loaded = await load(entry.source, {
        device,
        signal,
        onProgress: (progress) => {
          [bytes, fetched] = [progress.totalBytes, progress.fetchedBytes];
          if (this.#loading === mine) onProgress(progress);
        },
        onDeviceLost: () => this.#tell("lost"),
      });
      const kv = await Kv.open(loaded, context, signal);
      if (signal.aborted) throw signal.reason;
      this.model?.dispose();
      [this.model, this.kv] = [loaded, kv];
      this.entry = { ...entry, bytes, fetched, seconds: (performance.now() - began) / 1000 };
      loaded = undefined;
    } finally {
      loaded?.dispose();
      if (this.#loading === mine) this.#loading = undefined;
      this.#tell("change");
    }
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
