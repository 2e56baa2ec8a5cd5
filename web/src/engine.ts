/** The wasm, in this thread. Everything that goes in and out can be sent between threads. */

import init, { type Generation, type JsOptions, type Model as WasmModel, load, wasmBytes } from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { type ModelSource, openSource } from "./source.js";

export type Device = "auto" | "gpu" | "cpu";

/** How far loading has come, in bytes of weights. */
export interface Progress {
  readonly bytes: number;
  readonly of: number;
  /** Bytes of the wasm memory: weights on a GPU are not in it. */
  readonly wasmBytes: number;
}

export interface Info {
  readonly architecture: string;
  readonly context: number;
  readonly vocabSize: number;
  readonly hasTokenizer: boolean;
  readonly hasTemplate: boolean;
  readonly device: string;
}

/** What an executor has done since the model was loaded. */
export interface Stats {
  /** Memory of tensors now, and the most that ever was. */
  readonly bytes: number;
  readonly peakBytes: number;
  /** Buffers ever created. */
  readonly buffers: number;
  readonly submissions: number;
  readonly dispatches: number;
  /** Transfers from the device, and their bytes. */
  readonly downloads: number;
  readonly downloadedBytes: number;
  /** Bytes of the wasm memory, which never shrinks. */
  readonly wasmBytes: number;
}

export interface Step {
  readonly id: number | undefined;
  readonly text: string;
  readonly end: "stop" | "length" | undefined;
}

export interface Message {
  /** `system`, `user` or `assistant`; templates may know others. */
  readonly role: string;
  readonly content: string;
}

export interface Hooks {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a model does, in whichever thread. */
export interface Methods {
  load(source: ModelSource, device: Device, baseline: boolean): Info;
  tokenize(text: string, addSpecial: boolean): Uint32Array;
  detokenize(ids: Uint32Array, skipSpecial: boolean): string;
  render(messages: readonly Message[], addGenerationPrompt: boolean): string;
  /** Begins an answer and gives its number. */
  begin(ids: Uint32Array, options: JsOptions): number;
  next(answer: number): Step;
  end(answer: number): void;
  stats(): Stats;
}

export type Method = keyof Methods;

/** Calls methods, here or in a worker. */
export interface Engine {
  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks?: Hooks): Promise<ReturnType<Methods[M]>>;
  /** Frees the model; calls that have not ended fail. */
  close(): void;
}

let ready: Promise<unknown> | undefined;

/** Compiles the wasm, once a thread. */
function compiled(): Promise<unknown> {
  ready ??= start().catch((error) => {
    ready = undefined;
    throw new FoveateError("read", `cannot load the wasm: ${error}`, { cause: error });
  });
  return ready;
}

async function start(): Promise<unknown> {
  const url = new URL("../pkg/foveate_bg.wasm", import.meta.url);
  if (url.protocol !== "file:") return init({ module_or_path: url });
  // Node.js does not fetch files.
  const { readFile } = await import(/* @vite-ignore */ "node:fs/promises");
  return init({ module_or_path: readFile(url) });
}

/** Lets events and drawing through: on the processor nothing else would. */
const breathe = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** What is asked of WebGPU; TypeScript has no types for it yet. */
interface Gpu {
  requestAdapter(options: object): Promise<{ info?: Partial<Record<string, string>> } | null>;
}

/** One line that names executor and device. Browsers give GPUs no name but a vendor and an architecture. */
async function describe(model: WasmModel): Promise<string> {
  const plain = model.describe();
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  if (!plain.startsWith("gpu") || !gpu) return plain;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { description, device, vendor, architecture } = adapter?.info ?? {};
  const name = description || device || [vendor, architecture].filter(Boolean).join(" ");
  return name ? `gpu, ${name} (WebGPU)` : plain;
}

/** Runs the methods in this thread. */
export class LocalEngine implements Engine {
  #model: WasmModel | undefined;
  #answers = new Map<number, Generation>();
  #count = 0;
  #closed = false;

  async call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}) {
    try {
      const run = this[method] as (...args: unknown[]) => unknown;
      return (await run.apply(this, [...args, hooks])) as ReturnType<Methods[M]>;
    } catch (error) {
      throw FoveateError.from(error);
    }
  }

  close(): void {
    this.#closed = true;
    for (const answer of this.#answers.keys()) this.end(answer);
    this.#model?.free();
    this.#model = undefined;
  }

  private get model(): WasmModel {
    if (!this.#model) throw new FoveateError("closed", "the model is closed");
    return this.#model;
  }

  async load(source: ModelSource, device: Device, baseline: boolean, { onProgress, signal }: Hooks): Promise<Info> {
    await compiled();
    const files = await openSource(source, signal);
    throwIfAborted(signal);
    const report = (bytes: number, of: number) => {
      onProgress?.({ bytes, of, wasmBytes: wasmBytes() });
      return !signal?.aborted && !this.#closed;
    };
    const model = await load(files, device, baseline, report);
    if (this.#closed) {
      model.free();
      throw new FoveateError("closed", "the model is closed");
    }
    this.#model = model;
    const { architecture, context, vocabSize, hasTokenizer, hasTemplate } = model;
    return { architecture, context, vocabSize, hasTokenizer, hasTemplate, device: await describe(model) };
  }

  tokenize(text: string, addSpecial: boolean): Uint32Array {
    return this.model.tokenize(text, addSpecial);
  }

  detokenize(ids: Uint32Array, skipSpecial: boolean): string {
    return this.model.detokenize(ids, skipSpecial);
  }

  render(messages: readonly Message[], addGenerationPrompt: boolean): string {
    return this.model.render(JSON.stringify(messages), addGenerationPrompt);
  }

  begin(ids: Uint32Array, options: JsOptions): number {
    const answer = this.#count++;
    this.#answers.set(answer, this.model.generate(ids, options));
    return answer;
  }

  async next(answer: number): Promise<Step> {
    await breathe();
    const generation = this.#answers.get(answer);
    if (!generation) throw new FoveateError("closed", "the answer has ended");
    const step = await generation.next();
    const { id, text, end } = step;
    step.free();
    return { id, text, end: end as Step["end"] };
  }

  end(answer: number): void {
    const generation = this.#answers.get(answer);
    this.#answers.delete(answer);
    generation?.free();
  }

  stats(): Stats {
    return { ...(this.model.stats() as Omit<Stats, "wasmBytes">), wasmBytes: wasmBytes() };
  }
}
