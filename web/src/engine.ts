/** The engine of the calling thread. */

import type { Device as WasmDevice, JsFiles, Model as WasmModel } from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { subgroups } from "./features.js";
import { compiled, glue } from "./glue.js";
import { Loaded } from "./loaded.js";
import type { Argument, Device, Engine, Finding, Hooks, Info, Method, Methods, Plan, Progress, Requests } from "./methods.js";
import { locate } from "./modules.js";
import { Ahead, settled } from "./pipelines.js";
import { type OpenSource, openCase, withFiles } from "./source.js";

/** The part of WebGPU that is used here; TypeScript has no types for it yet. */
interface Gpu {
  requestAdapter(options: object): Promise<{ info?: Partial<Record<string, string>> } | null>;
}

/** Describes executor and device in one line. Most browsers name only the vendor and the architecture of a GPU. */
async function describe(model: WasmModel | WasmDevice): Promise<string> {
  const plain = model.describe();
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  if (!plain.startsWith("gpu") || !gpu) return plain;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { description, device, vendor, architecture } = adapter?.info ?? {};
  const name = description || device || [vendor, architecture].filter(Boolean).join(" ");
  return name ? `gpu, ${name} (WebGPU)` : plain;
}

/** Compiles the wasm, and passes it the subgroup sizes of this thread's GPU. */
async function begun(): Promise<void> {
  await compiled();
  glue.setSubgroups(...(await subgroups()));
}

/** Most bytes of weights, caches and scratch memory that the CPU executor allocates in WebAssembly (`core/src/host.rs`). */
const MOST_WEIGHTS = 3 * 2 ** 30;
/** Loaded bytes from which on the size of the wasm's memory tells whether they stay there. */
const CERTAIN = 2 ** 26;

/** Runs the methods in this thread. */
export class LocalEngine implements Engine {
  #loaded: Loaded | undefined;
  #device: WasmDevice | undefined;
  #closed = false;

  async call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}) {
    try {
      throwIfAborted(hooks.signal);
      if (this.#closed) throw new FoveateError("closed", "the model or device was disposed of: load or open another one");
      const target = (method in this ? this : this.#model) as Record<string, unknown>;
      const run = target[method] as (...args: unknown[]) => unknown;
      return (await run.apply(target, [...args, hooks])) as ReturnType<Methods[M]>;
    } catch (error) {
      throw FoveateError.from(error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#loaded?.free();
    this.#loaded = undefined;
    this.#device?.free();
    this.#device = undefined;
  }

  get #model(): Loaded {
    if (!this.#loaded) throw new FoveateError("closed", "no model is loaded");
    return this.#loaded;
  }

  private get device(): WasmDevice {
    if (!this.#device) throw new FoveateError("closed", "no device is open");
    return this.#device;
  }

  locate(wasmUrl: string): void {
    locate(wasmUrl);
  }

  async load(
    source: OpenSource,
    device: Device,
    baseline: boolean,
    cache: boolean,
    selfTest: boolean | undefined,
    { headers, timeout }: Requests = {},
    { onProgress, signal, fetch }: Hooks = {},
  ): Promise<Info> {
    await begun();
    let fetchedBytes = 0;
    const reading = { cache, headers, timeout, fetch };
    const open = async (files: JsFiles, hear: (progress: Omit<Progress, "fetchedBytes" | "wasmBytes">) => boolean) => {
      let told = [0, 0, 0, 0] as [bytes: number, of: number, compiled: number, pipelines: number];
      const compiling = new Ahead();
      const tell = () => {
        const [loadedBytes, totalBytes, compiled, pipelines] = told;
        const counted = compiling.counted({ compiled, pipelines });
        return hear({ loadedBytes, totalBytes, compiledPipelines: counted.compiled, totalPipelines: counted.pipelines });
      };
      let excess: number | undefined;
      const report = (...numbers: typeof told) => {
        told = numbers;
        const [bytes, of] = numbers;
        // A GPU's weights only pass through the wasm's memory.
        const onCpu = device === "cpu" || (bytes > CERTAIN && glue.wasmBytes() > bytes);
        if (onCpu && of > MOST_WEIGHTS) {
          excess = of;
          return false;
        }
        // All pipelines are requested at once, between the first report of one and the last.
        compiling.on(told[2] < told[3]);
        return tell();
      };
      try {
        const model = await glue.load(files, device, baseline, selfTest, report);
        await settled(tell);
        tell();
        return model;
      } catch (error) {
        if (excess === undefined) throw error;
        const [weights, most] = [excess, MOST_WEIGHTS].map((bytes) => `${(bytes / 1e9).toFixed(1)} GB`);
        const instead = "take a smaller model, a format of fewer bits, or a GPU";
        throw new FoveateError("out-of-memory", `the model has ${weights} of weights, and the CPU in WebAssembly holds at most ${most}: ${instead}`);
      } finally {
        compiling.on(false);
      }
    };
    const hear = (progress: Omit<Progress, "fetchedBytes" | "wasmBytes">) => {
      // The number of bytes is known with the first piece.
      if (progress.totalBytes > 0) onProgress?.({ ...progress, fetchedBytes, wasmBytes: glue.wasmBytes() });
      return !signal?.aborted && !this.#closed;
    };
    const first = { ...reading, signal, onFetched: (bytes: number) => (fetchedBytes += bytes) };
    const model = await withFiles(source, first, (files) => (throwIfAborted(signal), open(files, hear)));
    if (this.#closed || signal?.aborted) {
      model.free();
      throwIfAborted(signal);
      throw new FoveateError("closed", "the model was disposed of while it was loading");
    }
    const again = () => withFiles(source, reading, (files) => open(files, () => !this.#closed));
    this.#loaded = new Loaded(model, again);
    const { architecture, context, vocabSize, width, hasTokenizer, hasTemplate } = model;
    const { layers } = this.#loaded;
    const endTokens = [...model.endTokens];
    return { architecture, context, vocabSize, width, layers, hasTokenizer, hasTemplate, endTokens, device: await describe(model) };
  }

  async open(kind: Device | "plans", baseline: boolean, exact: boolean): Promise<{ name: string; ops: string[] }> {
    await begun();
    if (kind === "plans") return { name: kind, ops: glue.opNames() };
    this.#device = await glue.openDevice(kind, baseline, exact);
    return { name: await describe(this.#device), ops: glue.opNames() };
  }

  arguments(op: string, settings: string, shapes: string): Argument[] {
    return JSON.parse(glue.opArguments(op, settings, shapes));
  }

  plan(op: string, settings: string, shapes: string, caps: string): Plan {
    return JSON.parse(glue.opPlan(op, settings, shapes, caps));
  }

  inputs(op: string, settings: string, seed: number): Uint8Array[] {
    return glue.opInputs(op, settings, seed);
  }

  run(op: string, settings: string, shapes: string, inputs: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return this.device.run(op, settings, shapes, [...inputs]);
  }

  async check(source: string | Blob, kind: Device, baseline: boolean, { signal }: Hooks): Promise<Finding[]> {
    const { files, golden } = await openCase(source, signal);
    const found = files ? glue.checkModel(files, golden, kind, baseline) : this.device.check(golden);
    return JSON.parse(await found);
  }

  cases(): string[] {
    return glue.caseNames();
  }

  async checkCase(name: string): Promise<Finding[]> {
    return JSON.parse(await this.device.checkCase(name));
  }
}
