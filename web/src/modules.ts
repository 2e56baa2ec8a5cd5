/** Addresses of the package's wasm modules, and how they are read. */

import { FoveateError } from "./error.js";

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

let located: string | undefined;

/** Sets the address of the engine's wasm, or of the folder of all modules if it ends with `/`. */
export function locate(wasmUrl: string): void {
  located = wasmUrl;
}

/** Returns the address of a module in the folder of modules: `own`, unless the page has set another folder. */
export const moduleUrlOf = (path: string, own: URL): URL => (located?.endsWith("/") ? new URL(path, located) : own);

/** Returns the address of the engine's wasm: that of {@link moduleUrlOf}, or of the file that the page has set. */
export const engineUrl = (own: URL): URL => (located === undefined || located.endsWith("/") ? moduleUrlOf("foveate_bg.wasm", own) : new URL(located));

/** Returns a wasm file in a form that the glue loads: its address, or its bytes, because Node.js cannot fetch file URLs. */
export const wasmAt = (url: URL): URL | Promise<Uint8Array<ArrayBuffer>> => (url.protocol === "file:" ? builtin("node:fs/promises").readFile(url) : url);

/** A module with one type, a function that returns a `v128`: valid only with `simd128`. */
const VECTOR = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b);

/** Throws an error of code `unsupported` if the modules cannot run here. */
export function checkWasm(): void {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(VECTOR)) {
    throw new FoveateError("unsupported", "this browser lacks WebAssembly SIMD (simd128): use a newer browser");
  }
}

/** Returns the error of a wasm that cannot be loaded. Browsers name the policy that blocks it only in the message. */
export function unloaded(error: unknown): FoveateError {
  if (/unsafe-eval|content.security.policy/i.test(String(error))) {
    const why = "the page's Content-Security-Policy blocks it: add 'wasm-unsafe-eval' to its directive script-src";
    return new FoveateError("read", `cannot compile the wasm: ${why}`, { cause: error, reason: "csp" });
  }
  return new FoveateError("read", `cannot load the wasm: ${error}`, { cause: error });
}
