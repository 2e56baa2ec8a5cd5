/** The wasm module of this thread: the single-threaded build, unless a worker replaces it. */

import * as single from "../pkg/foveate.js";
import { FoveateError } from "./error.js";

type Glue = typeof single;

/** The part of Node.js that is used here. */
interface NodeProcess {
  getBuiltinModule(name: "node:fs/promises"): { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
}

export let glue: Glue = single;

/** Returns what the glue loads a wasm file from: its address, or its bytes where there is no fetching of files. */
export function wasmAt(url: URL): URL | Promise<Uint8Array<ArrayBuffer>> {
  if (url.protocol !== "file:") return url;
  // Node.js cannot fetch file URLs. An import of `node:fs` would make bundlers fail.
  const { process } = globalThis as unknown as { process: NodeProcess };
  const { readFile } = process.getBuiltinModule("node:fs/promises");
  return readFile(url);
}

let begin = async (): Promise<unknown> =>
  single.default({ module_or_path: wasmAt(new URL("../pkg/foveate_bg.wasm", import.meta.url)) });

/** Replaces the build of this thread. If `start` fails, the single-threaded build is used after all. */
export function use(other: Omit<Glue, "default" | "initSync">, start: () => Promise<unknown>): void {
  const single = begin;
  begin = async () => {
    try {
      await start();
      glue = other as Glue;
    } catch (error) {
      console.warn(`foveate: cannot start threads, continuing with one: ${error}`);
      begin = single;
      await single();
    }
  };
}

let ready: Promise<unknown> | undefined;

/** A module with one type, a function that returns a `v128`: valid only with `simd128`. */
const VECTOR = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b);

/** Compiles the wasm once per thread. */
export async function compiled(): Promise<unknown> {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(VECTOR)) {
    throw new FoveateError("unsupported", "this browser lacks WebAssembly SIMD (simd128): use a newer browser");
  }
  ready ??= begin().catch((error) => {
    ready = undefined;
    throw new FoveateError("read", `cannot load the wasm: ${error}`, { cause: error });
  });
  return ready;
}
