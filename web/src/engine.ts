/** The wasm, in this thread. */

import type { Device as WasmDevice, JsFiles, Model as WasmModel } from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { subgroups } from "./features.js";
import { compiled, glue } from "./glue.js";
import { Loaded } from "./loaded.js";
import type { Argument, Device, Engine, Finding, Hooks, Info, Method, Methods, Plan, Progress } from "./methods.js";
import { Ahead, settled } from "./pipelines.js";
import { type OpenSource, openCase, openSource } from "./source.js";

/** What is asked of WebGPU; TypeScript has no types for it yet. */
interface Gpu {
  requestAdapter(options: object): Promise<{ info?: Partial<Record<string, string>> } | null>;
}

/** One line that names executor and device. Browsers give GPUs no name but a vendor and an architecture. */
async function describe(model: WasmModel | WasmDevice): Promise<string> {
  const plain = model.describe();
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  if (!plain.startsWith("gpu") || !gpu) return plain;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { description, device, vendor, architecture } = adapter?.info ?? {};
  const name = description || device || [vendor, architecture].filter(Boolean).join(" ");
  return name ? `gpu, ${name} (WebGPU)` : plain;
}

/** Compiles the wasm, and tells it what devices of this thread's GPU will have. */
async function begun(): Promise<void> {
  await compiled();
  glue.setSubgroups(...(await subgroups()));
}

/** Runs the methods in this thread. */
export class LocalEngine implements Engine {
  #loaded: Loaded | undefined;
  #device: WasmDevice | undefined;
  #closed = false;

  async call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}) {
    try {
      throwIfAborted(hooks.signal);
      if (this.#closed) throw new FoveateError("closed", "the model or device is closed");
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
    if (!this.#loaded) throw new FoveateError("closed", "the model is closed");
    return this.#loaded;
  }

  private get device(): WasmDevice {
    if (!this.#device) throw new FoveateError("closed", "the device is closed");
    return this.#device;
  }

  async load(
    source: OpenSource,
    device: Device,
    baseline: boolean,
    cache: boolean,
    selfTest: boolean | undefined,
    { onProgress, signal }: Hooks,
  ): Promise<Info> {
    await begun();
    let fetched = 0;
    const files = await openSource(source, { signal, cache, onFetched: (bytes) => (fetched += bytes) });
    throwIfAborted(signal);
    const open = async (files: JsFiles, hear: (progress: Omit<Progress, "fetched" | "wasmBytes">) => boolean) => {
      let told = [0, 0, 0, 0] as [bytes: number, of: number, compiled: number, pipelines: number];
      const compiling = new Ahead();
      const tell = () => {
        const [bytes, of, compiled, pipelines] = told;
        return hear({ bytes, of, ...compiling.counted({ compiled, pipelines }) });
      };
      const report = (...numbers: typeof told) => {
        told = numbers;
        // From the first of them to the last, all are asked for at once.
        compiling.on(told[2] < told[3]);
        return tell();
      };
      try {
        const model = await glue.load(files, device, baseline, selfTest, report);
        await settled(tell);
        tell();
        return model;
      } finally {
        compiling.on(false);
      }
    };
    const model = await open(files, (progress) => {
      // Before the first piece nobody knows how many bytes there are.
      if (progress.of > 0) onProgress?.({ ...progress, fetched, wasmBytes: glue.wasmBytes() });
      return !signal?.aborted && !this.#closed;
    });
    if (this.#closed || signal?.aborted) {
      model.free();
      throwIfAborted(signal);
      throw new FoveateError("closed", "the model is closed");
    }
    const again = async () => open(await openSource(source, { cache }), () => !this.#closed);
    this.#loaded = new Loaded(model, again);
    const { architecture, context, vocabSize, width, hasTokenizer, hasTemplate } = model;
    const { layers } = this.#loaded;
    return { architecture, context, vocabSize, width, layers, hasTokenizer, hasTemplate, device: await describe(model) };
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
