/** The wasm module of this thread: the single-threaded build, unless a worker replaces it. */

import * as single from "../pkg/foveate.js";
import { FoveateError } from "./error.js";

type Glue = typeof single;

/** The parts of Node.js that are used here. An import of `node:fs` would make bundlers fail. */
interface Builtin {
  "node:fs/promises": { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
  "node:worker_threads": {
    readonly Worker: new (
      script: URL,
      options: object,
    ) => { once(event: string, hear: (value: unknown) => void): void; unref(): void };
    readonly parentPort: { postMessage(message: unknown): void };
    readonly workerData: unknown;
  };
}

/** Returns a module of Node.js. */
export function builtin<Name extends keyof Builtin>(name: Name): Builtin[Name] {
  const { process } = globalThis as unknown as { process: { getBuiltinModule(name: Name): Builtin[Name] } };
  return process.getBuiltinModule(name);
}

export let glue: Glue = single;

let located: string | undefined;

/** Sets the address of the wasm, or of the folder of its builds if it ends with `/`. */
export function locate(wasmUrl: string): void {
  located = wasmUrl;
}

/** Returns the address of a module in the folder of builds: `own`, unless the page has set another folder. */
export const moduleUrlOf = (path: string, own: URL): URL => (located?.endsWith("/") ? new URL(path, located) : own);

/** Returns the address of a build of the engine: that of {@link moduleUrlOf}, or of the file that the page has set. */
export const wasmUrlOf = (path: string, own: URL): URL => (located === undefined || located.endsWith("/") ? moduleUrlOf(path, own) : new URL(located));

/** Returns a wasm file in a form that the glue loads: its address, or its bytes, because Node.js cannot fetch file URLs. */
export const wasmAt = (url: URL): URL | Promise<Uint8Array<ArrayBuffer>> => (url.protocol === "file:" ? builtin("node:fs/promises").readFile(url) : url);

let begin = async (): Promise<unknown> => {
  const url = wasmUrlOf("foveate_bg.wasm", new URL("../pkg/foveate_bg.wasm", import.meta.url));
  return single.default({ module_or_path: wasmAt(url) });
};

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
    throw unloaded(error);
  });
  return ready;
}

/** Returns the error of a wasm that cannot be loaded. Browsers name the policy that blocks it only in the message. */
export function unloaded(error: unknown): FoveateError {
  if (/unsafe-eval|content.security.policy/i.test(String(error))) {
    const why = "the page's Content-Security-Policy blocks it: add 'wasm-unsafe-eval' to its directive script-src";
    return new FoveateError("read", `cannot compile the wasm: ${why}`, { cause: error, reason: "csp" });
  }
  return new FoveateError("read", `cannot load the wasm: ${error}`, { cause: error });
}
