/** The wasm that this thread runs: of one thread, unless a worker says otherwise. */

import * as single from "../pkg/foveate.js";
import { FoveateError } from "./error.js";

type Glue = typeof single;

/** What is asked of Node.js. */
interface NodeProcess {
  getBuiltinModule(name: "node:fs/promises"): { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
}

export let glue: Glue = single;

let begin = async (): Promise<unknown> => {
  const url = new URL("../pkg/foveate_bg.wasm", import.meta.url);
  if (url.protocol !== "file:") return single.default({ module_or_path: url });
  // Node.js does not fetch files. Bundlers would look for an import.
  const { process } = globalThis as unknown as { process: NodeProcess };
  const { readFile } = process.getBuiltinModule("node:fs/promises");
  return single.default({ module_or_path: readFile(url) });
};

/** Another build of the same, and how it begins; where it cannot, that of one thread takes its place. */
export function use(other: Omit<Glue, "default" | "initSync">, start: () => Promise<unknown>): void {
  const single = begin;
  begin = async () => {
    try {
      await start();
      glue = other as Glue;
    } catch (error) {
      console.warn(`foveate goes on with one thread: ${error}`);
      begin = single;
      await single();
    }
  };
}

let ready: Promise<unknown> | undefined;

/** A module of one type: a function that returns 128 bits. */
const VECTOR = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b);

/** Compiles the wasm, once a thread. */
export async function compiled(): Promise<unknown> {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(VECTOR)) {
    throw new FoveateError("unsupported", "this browser lacks WebAssembly with vectors of 128 bits (simd128)");
  }
  ready ??= begin().catch((error) => {
    ready = undefined;
    throw new FoveateError("read", `cannot load the wasm: ${error}`, { cause: error });
  });
  return ready;
}
