/** The wasm, in this thread. Everything that goes in and out can be sent between threads. */

import init, {
  caseNames,
  checkModel,
  type Device as WasmDevice,
  type Generation,
  type JsOptions,
  load,
  type Model as WasmModel,
  openDevice,
  opArguments,
  opInputs,
  opNames,
  type Scoring,
  wasmBytes,
} from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { type OpenSource, openCase, openSource } from "./source.js";

export type Device = "auto" | "gpu" | "cpu" | "reference";

/** An argument of an op: rows of `shape`, of which one that is written is the caller's to read. */
export interface Argument {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly access: "read" | "write" | "both";
}

/** What a check of one expectation found. */
export interface Finding {
  readonly name: string;
  readonly passed: boolean;
  /** The largest error, or what differs. */
  readonly detail: string;
}

/** How far loading has come, in bytes of weights. */
export interface Progress {
  readonly bytes: number;
  readonly of: number;
  /** Bytes that came over the network: none where all was in the cache. */
  readonly fetched: number;
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
  /** Log-probability, entropy, rank, then pairs of likely tokens and their log-probabilities; empty if not asked for. */
  readonly probabilities: Float64Array;
  /** The device was lost before this step, and the model is on a new one. */
  readonly recovered: boolean;
}

/** An answer in the making, and what it takes to go on with it on another device. */
interface Answer {
  generation: Generation;
  readonly ids: Uint32Array;
  readonly options: JsOptions;
  readonly generated: number[];
}

/** Devices that a model may lose: more is a driver that fails at what we ask of it. */
const MOST_LOSSES = 3;

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
  load(source: OpenSource, device: Device, baseline: boolean, cache: boolean): Info;
  tokenize(text: string, addSpecial: boolean): Uint32Array;
  detokenize(ids: Uint32Array, skipSpecial: boolean): string;
  render(messages: readonly Message[], addGenerationPrompt: boolean): string;
  /** Begins an answer and gives its number. */
  begin(ids: Uint32Array, options: JsOptions): number;
  next(answer: number): Step;
  end(answer: number): void;
  /** Begins to score tokens and gives its number, which `end` takes, too. */
  score(ids: Uint32Array): number;
  /** Log-probability, entropy and rank of each of some tokens; none at the end. */
  scores(scoring: number): Float64Array;
  stats(): Stats;
  /** Opens an executor for single ops. */
  open(kind: Device, baseline: boolean): { name: string; ops: string[] };
  arguments(op: string, settings: string, shapes: string): Argument[];
  inputs(op: string, settings: string, seed: number): Uint8Array[];
  run(op: string, settings: string, shapes: string, inputs: readonly Uint8Array[]): Uint8Array[];
  check(source: string | Blob, kind: Device, baseline: boolean): Finding[];
  cases(): string[];
  checkCase(name: string): Finding[];
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
async function describe(model: WasmModel | WasmDevice): Promise<string> {
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
  #device: WasmDevice | undefined;
  /** Loads the model again. */
  #reload: (() => Promise<WasmModel>) | undefined;
  #recovering: Promise<void> | undefined;
  #losses = 0;
  #answers = new Map<number, Answer>();
  #scorings = new Map<number, Scoring>();
  #count = 0;
  #closed = false;

  async call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks: Hooks = {}) {
    try {
      if (this.#closed) throw new FoveateError("closed", "the model or device is closed");
      const run = this[method] as (...args: unknown[]) => unknown;
      return (await run.apply(this, [...args, hooks])) as ReturnType<Methods[M]>;
    } catch (error) {
      throw FoveateError.from(error);
    }
  }

  close(): void {
    this.#closed = true;
    for (const number of [...this.#answers.keys(), ...this.#scorings.keys()]) this.end(number);
    this.#model?.free();
    this.#model = undefined;
    this.#device?.free();
    this.#device = undefined;
  }

  private get model(): WasmModel {
    if (!this.#model) throw new FoveateError("closed", "the model is closed");
    return this.#model;
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
    { onProgress, signal }: Hooks,
  ): Promise<Info> {
    await compiled();
    let fetched = 0;
    const files = await openSource(source, { signal, cache, onFetched: (bytes) => (fetched += bytes) });
    throwIfAborted(signal);
    const report = (bytes: number, of: number) => {
      onProgress?.({ bytes, of, fetched, wasmBytes: wasmBytes() });
      return !signal?.aborted && !this.#closed;
    };
    const model = await load(files, device, baseline, report);
    if (this.#closed) {
      model.free();
      throw new FoveateError("closed", "the model is closed");
    }
    this.#model = model;
    this.#reload = async () => load(await openSource(source, { cache }), device, baseline, () => !this.#closed);
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
    const number = this.#count++;
    const generation = this.model.generate(ids, options);
    this.#answers.set(number, { generation, ids, options, generated: [] });
    return number;
  }

  async next(number: number): Promise<Step> {
    await breathe();
    for (let recovered = false; ; recovered = true) {
      const answer = this.#answers.get(number);
      if (!answer) throw new FoveateError("closed", "the answer has ended");
      try {
        const step = await answer.generation.next();
        const { id, text, end, probabilities } = step;
        step.free();
        if (id !== undefined) answer.generated.push(id);
        return { id, text, end: end as Step["end"], probabilities, recovered };
      } catch (error) {
        if ((error as { code?: unknown }).code !== "device" || this.#closed) throw error;
        await this.#recover(answer.generation, error);
      }
    }
  }

  /** Loads the model onto a new device, once for all answers, and begins them again where they were. */
  #recover(failed: Generation, error: unknown): Promise<void> {
    // Another answer has seen to it, or is about to.
    if (this.#recovering) return this.#recovering;
    if (![...this.#answers.values()].some(({ generation }) => generation === failed)) return Promise.resolve();
    const again = async () => {
      if (!this.#reload || ++this.#losses > MOST_LOSSES) throw error;
      const model = await this.#reload();
      this.#model?.free();
      this.#model = model;
      for (const answer of this.#answers.values()) {
        const replay = Uint32Array.from(answer.generated);
        answer.generation.free();
        answer.generation = model.generate(answer.ids, { ...answer.options, replay });
      }
    };
    this.#recovering = again().finally(() => (this.#recovering = undefined));
    return this.#recovering;
  }

  end(number: number): void {
    const running = this.#answers.get(number)?.generation ?? this.#scorings.get(number);
    this.#answers.delete(number);
    this.#scorings.delete(number);
    running?.free();
  }

  score(ids: Uint32Array): number {
    const number = this.#count++;
    this.#scorings.set(number, this.model.score(ids));
    return number;
  }

  async scores(number: number): Promise<Float64Array> {
    await breathe();
    const scoring = this.#scorings.get(number);
    if (!scoring) throw new FoveateError("closed", "the scoring has ended");
    return scoring.next();
  }

  stats(): Stats {
    return { ...(this.model.stats() as Omit<Stats, "wasmBytes">), wasmBytes: wasmBytes() };
  }

  async open(kind: Device, baseline: boolean): Promise<{ name: string; ops: string[] }> {
    await compiled();
    this.#device = await openDevice(kind, baseline);
    return { name: await describe(this.#device), ops: opNames() };
  }

  arguments(op: string, settings: string, shapes: string): Argument[] {
    return JSON.parse(opArguments(op, settings, shapes));
  }

  inputs(op: string, settings: string, seed: number): Uint8Array[] {
    return opInputs(op, settings, seed);
  }

  run(op: string, settings: string, shapes: string, inputs: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return this.device.run(op, settings, shapes, [...inputs]);
  }

  async check(source: string | Blob, kind: Device, baseline: boolean, { signal }: Hooks): Promise<Finding[]> {
    const { files, golden } = await openCase(source, signal);
    const found = files ? checkModel(files, golden, kind, baseline) : this.device.check(golden);
    return JSON.parse(await found);
  }

  cases(): string[] {
    return caseNames();
  }

  async checkCase(name: string): Promise<Finding[]> {
    return JSON.parse(await this.device.checkCase(name));
  }
}
