/** Single kernels over typed arrays: what researchers run, and what says whether a device computes as it should. */

import type { OpName } from "../pkg/ops.js";
import type { Argument, Device as Kind, Engine, Finding } from "./methods.js";
import { FoveateError } from "./error.js";
import { absolute, spawnEngine } from "./spawn.js";

export type { Finding, OpName };

export type TensorData = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** Numbers and their sizes, row-major: `[B, T, H, D]` of queries. Weights in blocks are a `Uint8Array`. */
export interface Tensor {
  readonly data: TensorData;
  readonly shape: readonly number[];
}

/** An argument of an op. */
export type { Argument };

/**
 * Settings of an op by the names that `foveate bench` and the specs have (`causal`, `window`, `kv_heads`), or by the
 * letters of shapes (`B`, `T`, `H`, `D`). What is left out has a default; sizes are read off the tensors' shapes. With a
 * `signal` among them the wait for the op ends with an error of code `cancelled`.
 */
export interface Settings {
  readonly signal?: AbortSignal | undefined;
  readonly [setting: string]: number | boolean | string | null | undefined | AbortSignal;
}

/** Tensors in the order of the op's arguments, or by their names; without shapes where the settings have all sizes. */
export type Tensors = readonly (Tensor | TensorData)[] | readonly [Readonly<Record<string, Tensor | TensorData>>];

/** What an op wrote, by the names of its arguments. */
export type Outputs = Record<string, Tensor>;

export type Kernel = (settings: Settings, ...tensors: Tensors) => Promise<Outputs>;

/** An executor, with every op as a method: `gpu.attention({ causal: true }, q, k, v)`. */
export type Device = Executor & { readonly [Op in OpName]: Kernel };

export interface DeviceOptions {
  /** `false` runs everything in the calling thread; by default it runs in a worker where there are workers. */
  readonly worker?: boolean;
  /** Use no more of the GPU than WebGPU guarantees everywhere. */
  readonly baseline?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Opens an executor for single ops: `gpu`, `cpu`, `reference` (the definitions: slow, and what all else is measured by),
 * or, with `auto`, a real GPU where there is one and the processor otherwise.
 *
 * @throws {FoveateError}
 */
export async function device(kind: Kind = "auto", options: DeviceOptions = {}): Promise<Device> {
  const engine = spawnEngine(options.worker);
  try {
    const { name, ops } = await engine.call("open", [kind, options.baseline ?? false], hooksOf(options));
    const executor = new Executor(engine, kind, options.baseline ?? false, name, ops);
    for (const op of ops) {
      const kernel: Kernel = (settings, ...tensors) => executor.run(op, settings, ...tensors);
      Object.defineProperty(executor, op, { value: kernel, enumerable: true });
    }
    return executor as Device;
  } catch (error) {
    engine.close();
    throw error;
  }
}

/** An executor of single ops. */
export class Executor {
  readonly #engine: Engine;
  readonly #kind: Kind;
  readonly #baseline: boolean;
  /** One line that names executor and device. */
  readonly name: string;
  /** The names of all ops. */
  readonly ops: readonly string[];

  /** @internal */
  constructor(engine: Engine, kind: Kind, baseline: boolean, name: string, ops: readonly string[]) {
    this.#engine = engine;
    this.#kind = kind;
    this.#baseline = baseline;
    this.name = name;
    this.ops = ops;
  }

  /**
   * Runs an op by its name.
   *
   * @throws {FoveateError}
   */
  async run(op: string, settings: Settings, ...tensors: Tensors): Promise<Outputs> {
    const text = settingsText(settings);
    const hooks = hooksOf(settings);
    const named = await this.#named(op, text, tensors);
    const shapes = Object.fromEntries(
      [...named].flatMap(([name, tensor]) => ("shape" in tensor ? [[name, tensor.shape]] : [])),
    );
    const args = await this.#engine.call("arguments", [op, text, JSON.stringify(shapes)]);
    const inputs = args.filter(({ access }) => access !== "write").map((arg) => bytesOf(op, arg, named));
    for (const name of named.keys()) {
      if (!args.some((arg) => arg.name === name && arg.access !== "write")) {
        const names = args.filter(({ access }) => access !== "write").map((arg) => arg.name);
        throw new FoveateError("config", `${op} with these settings reads ${names.join(", ")}, and no ${name}`);
      }
    }
    const outputs = await this.#engine.call("run", [op, text, JSON.stringify(shapes), inputs], hooks);
    const written = args.filter(({ access }) => access !== "read");
    return Object.fromEntries(written.map((arg, i) => [arg.name, typed(arg, outputs[i] as Uint8Array)]));
  }

  /** The arguments of an op with these settings. */
  arguments(op: string, settings: Settings = {}): Promise<readonly Argument[]> {
    return this.#engine.call("arguments", [op, settingsText(settings), "{}"]);
  }

  /** Meaningful tensors for every argument that an op reads: drawn numbers, ids inside of vocabularies. */
  async inputs(op: string, settings: Settings = {}, seed = 1): Promise<Record<string, Tensor>> {
    const text = settingsText(settings);
    const [args, all] = await Promise.all([
      this.#engine.call("arguments", [op, text, "{}"]),
      this.#engine.call("inputs", [op, text, seed]),
    ]);
    const read = args.map((arg, i) => [arg, typed(arg, all[i] as Uint8Array)] as const);
    return Object.fromEntries(read.filter(([{ access }]) => access !== "write").map(([{ name }, t]) => [name, t]));
  }

  /**
   * Compares this executor with a case whose results are known: a `.safetensors` file of an op, or the address of a
   * model's folder with a `golden.safetensors`. The format is that of `foveate check`.
   *
   * @throws {FoveateError} if the case cannot be run at all.
   */
  check(source: string | URL | Blob, options: { signal?: AbortSignal } = {}): Promise<readonly Finding[]> {
    const sent = source instanceof Blob ? source : absolute(source);
    return this.#engine.call("check", [sent, this.#kind, this.#baseline], hooksOf(options));
  }

  /** Runs built-in cases, all or those whose names (`op/shape`) pass `filter`, against the definitions. */
  async selfTest(
    filter: (name: string) => boolean = () => true,
    options: { signal?: AbortSignal } = {},
  ): Promise<readonly Finding[]> {
    const names = (await this.#engine.call("cases", [])).filter(filter);
    const findings: Finding[] = [];
    for (const name of names) {
      const found = await this.#engine.call("checkCase", [name], hooksOf(options));
      findings.push(...found.map((finding) => ({ ...finding, name })));
    }
    return findings;
  }

  /** Frees the device. What is still running fails with an error of code `closed`. */
  dispose(): void {
    this.#engine.close();
  }

  async #named(op: string, settings: string, tensors: Tensors): Promise<Map<string, Tensor | TensorData>> {
    const [first] = tensors;
    if (tensors.length === 1 && first && !ArrayBuffer.isView(first) && !isTensor(first)) {
      return new Map(Object.entries(first as Record<string, Tensor | TensorData>));
    }
    const args = await this.#engine.call("arguments", [op, settings, "{}"]);
    const names = args.filter(({ access }) => access !== "write").map(({ name }) => name);
    if (tensors.length !== names.length) {
      throw new FoveateError("config", `${op} reads ${names.join(", ")}; ${tensors.length} tensors were given`);
    }
    return new Map(names.map((name, i) => [name, tensors[i] as Tensor | TensorData]));
  }
}

const hooksOf = ({ signal }: { signal?: AbortSignal | undefined }) => ({ signal });

const isTensor = (value: object): value is Tensor => "data" in value && "shape" in value;

function settingsText(settings: Settings): string {
  const text = ([name, value]: [string, unknown]) => {
    const word = value === null ? "none" : String(value);
    if (/[,=]/.test(name + word)) throw new FoveateError("config", `${name} cannot be ${word}`);
    return `${name}=${word}`;
  };
  return Object.entries(settings)
    .filter(([name, value]) => value !== undefined && name !== "signal")
    .map(text)
    .join();
}

const ARRAYS: Record<string, new (buffer: ArrayBuffer) => TensorData> = {
  f32: Float32Array,
  i32: Int32Array,
  u32: Uint32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
};

function typed({ dtype, shape }: Argument, bytes: Uint8Array): Tensor {
  const List = ARRAYS[dtype];
  return { data: List ? new List(bytes.slice().buffer as ArrayBuffer) : bytes, shape };
}

function bytesOf(op: string, arg: Argument, tensors: Map<string, Tensor | TensorData>): Uint8Array {
  const tensor = tensors.get(arg.name);
  if (!tensor) throw new FoveateError("config", `${op}: ${arg.name} is missing`);
  const data = "shape" in tensor ? tensor.data : tensor;
  const List = ARRAYS[arg.dtype] ?? Uint8Array;
  const whole = (list: unknown) => list === Int32Array || list === Uint32Array;
  const same = data.constructor === List || (whole(data.constructor) && whole(List)) || data instanceof Uint8Array;
  if (!same) {
    throw new FoveateError("config", `${op}: ${arg.name} is ${arg.dtype}, which is a ${List.name}, got a ${data.constructor.name}`);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
