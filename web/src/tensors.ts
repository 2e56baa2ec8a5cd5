/** Tensors and settings of ops, and their encoding for an engine. */

import type { OpName, OpSettings } from "../pkg/ops.js";
import { FoveateError } from "./error.js";
import type { Argument, Engine } from "./methods.js";

export type TensorData = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** A tensor in row-major order, for example queries of shape `[B, T, H, D]`. Quantized weights are a `Uint8Array`. */
export interface Tensor {
  readonly data: TensorData;
  readonly shape: readonly number[];
}

/** Options of every op besides its settings. */
export interface Cancellable {
  /** Cancels the call: it throws an error of code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Settings of an op by name (`causal`, `window`, `kv_heads`) or by letter of the glossary (`B`, `T`, `H`, `D`), as listed by
 * `foveate bench OP --help`. Settings left out have defaults; sizes come from the shapes of the tensors.
 */
export type Settings<Op extends OpName = OpName> = OpSettings[Op] & Cancellable;

/** Settings of an op whose name the compiler does not know. */
export interface AnySettings extends Cancellable {
  readonly [setting: string]: number | boolean | string | null | undefined | AbortSignal;
}

/** Tensors in the order of the op's arguments, or by argument name. Shapes may be left out if the settings have all sizes. */
export type Tensors<T = Tensor | TensorData, Name extends string = string> =
  | readonly T[]
  | readonly [Readonly<Partial<Record<Name, T>>>];

/** Returns tensors by the name of their argument. */
export async function byName<T extends object>(
  engine: Engine,
  op: string,
  settings: string,
  tensors: Tensors<T>,
): Promise<Map<string, T>> {
  const [first] = tensors;
  if (tensors.length === 1 && first && !isOne(first)) return new Map(Object.entries(first as Record<string, T>));
  const args = await engine.call("arguments", [op, settings, "{}"]);
  const names = args.filter(({ access }) => access !== "write").map(({ name }) => name);
  if (tensors.length !== names.length) {
    throw new FoveateError("config", `${op} reads ${names.length} tensors, ${names.join(", ")}; got ${tensors.length}`);
  }
  return new Map(names.map((name, i) => [name, tensors[i] as T]));
}

/** Returns the known shapes of tensors as JSON. */
export function shapesOf(tensors: Map<string, object>): string {
  const shapes = [...tensors].flatMap(([name, tensor]) => ("shape" in tensor ? [[name, tensor.shape] as const] : []));
  return JSON.stringify(Object.fromEntries(shapes));
}

const isOne = (value: object) => ArrayBuffer.isView(value) || ("data" in value && "shape" in value);

export const hooksOf = ({ signal }: { signal?: AbortSignal | undefined }) => ({ signal });

export function settingsText(settings: AnySettings): string {
  const text = ([name, value]: [string, unknown]) => {
    const word = value === null ? "none" : String(value);
    if (/[,=]/.test(name + word)) throw new FoveateError("config", `${name} cannot be ${word}: settings contain no "," or "="`);
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

export function typed({ dtype, shape }: Argument, bytes: Uint8Array): Tensor {
  const List = ARRAYS[dtype];
  return { data: List ? new List(bytes.slice().buffer as ArrayBuffer) : bytes, shape };
}

export function bytesOf(op: string, arg: Argument, tensors: Map<string, Tensor | TensorData>): Uint8Array {
  const tensor = tensors.get(arg.name);
  if (!tensor) throw new FoveateError("config", `${op}: the tensor ${arg.name} is missing`);
  const data = "shape" in tensor ? tensor.data : tensor;
  const List = ARRAYS[arg.dtype] ?? Uint8Array;
  const whole = (list: unknown) => list === Int32Array || list === Uint32Array;
  const same = data.constructor === List || (whole(data.constructor) && whole(List)) || data instanceof Uint8Array;
  if (!same) {
    throw new FoveateError("config", `${op}: ${arg.name} is a tensor of ${arg.dtype} and must be a ${List.name}, got a ${data.constructor.name}`);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
