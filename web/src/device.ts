/** Single ops over typed arrays, and checks of a device against the definitions. */

import type { OpInputs, OpName } from "../pkg/ops.js";
import { absolute } from "./address.js";
import { type BufferDevice, BufferExecutor, type Capable, capsOf, type OwnDevice } from "./buffers.js";
import { type Abortable, FoveateError } from "./error.js";
import type { Argument, Device as Kind, Engine, Finding, Plan } from "./methods.js";
import { checkOptions, type OptionNames } from "./options.js";
import { ENGINE_OPTIONS, type EngineOptions, spawnEngine } from "./spawn.js";
import { type AnySettings, byName, bytesOf, hooksOf, type Settings, settingsText, shapesOf, type Tensor, type TensorData, type Tensors, typed } from "./tensors.js";

export type { Finding, Plan };
export type * from "../pkg/ops.js";
export type { AnySettings, Cancellable, Settings, Tensor, TensorData, Tensors } from "./tensors.js";

/** An argument of an op. */
export type { Argument };

/** Outputs of an op by argument name. */
export type Outputs = Record<string, Tensor>;

/** An op. Takes settings, then its tensors in the order of its arguments or as one object by argument name. */
export type Kernel<Op extends OpName = OpName> = (
  settings: Settings<Op>,
  ...tensors: Tensors<Tensor | TensorData, OpInputs[Op]>
) => Promise<Outputs>;

/** An executor with every op as a method: `gpu.attention({ causal: true }, q, k, v)`. */
export type Device = Executor & { readonly [Op in OpName]: Kernel<Op> };

/** Options of {@link device}. */
export interface DeviceOptions extends EngineOptions {
  /** Restricts the GPU to WebGPU's default limits and no optional features. */
  readonly baseline?: boolean;
  /**
   * Computes linear ops in f32 on the CPU: `true` by default. With `false`, the CPU rounds activations to 16 bits if the
   * weights have 4 or 8 bits, as it does for models.
   */
  readonly exact?: boolean;
  readonly signal?: AbortSignal;
}

const OPTIONS: OptionNames<DeviceOptions> = { ...ENGINE_OPTIONS, baseline: true, exact: true, signal: true };

/**
 * Opens an executor for single ops.
 *
 * - `auto`, the default, uses WebGPU if there is a hardware GPU, and the CPU otherwise.
 * - `gpu` uses WebGPU, `cpu` the WebAssembly executor.
 * - `reference` runs the definitions of the ops, slowly. All other executors are tested against it.
 * - `{ device }` runs ops on the caller's own `GPUDevice`, over its buffers.
 *
 * @throws {FoveateError}
 */
export function device(kind?: Kind, options?: DeviceOptions): Promise<Device>;
export function device<D extends OwnDevice>(own: { readonly device: D } & DeviceOptions): Promise<BufferDevice<D>>;
export async function device<D extends OwnDevice>(
  kind: Kind | ({ readonly device: D } & DeviceOptions) = "auto",
  options: DeviceOptions = {},
): Promise<Device | BufferDevice<D>> {
  const { device: own, ...given } = typeof kind === "object" ? kind : { ...options, device: undefined };
  checkOptions("device", given, OPTIONS);
  const { baseline = false, exact = true, ...where } = given;
  // Planning needs no executor.
  const opened = own ? "plans" : (kind as Kind);
  const engine = spawnEngine(where, opened);
  try {
    const { name, ops } = await engine.call("open", [opened, baseline, exact], hooksOf(where));
    const executor = own ? new BufferExecutor(engine, own, baseline, ops) : new Executor(engine, kind as Kind, baseline, name, ops);
    for (const op of ops) {
      const value = (settings: AnySettings, ...tensors: never[]) => executor.run(op, settings, ...tensors);
      Object.defineProperty(executor, op, { value, enumerable: true });
    }
    return executor as Device | BufferDevice<D>;
  } catch (error) {
    engine.close();
    throw error;
  }
}

/** An executor for single ops. */
export class Executor {
  readonly #engine: Engine;
  readonly #kind: Kind;
  readonly #baseline: boolean;
  /** Executor and device, in one line. */
  readonly name: string;
  /** Names of all ops. */
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
  async run(op: string, settings: AnySettings, ...tensors: Tensors): Promise<Outputs> {
    const text = settingsText(settings);
    const hooks = hooksOf(settings);
    const named = await byName(this.#engine, op, text, tensors);
    const shapes = shapesOf(named);
    const args = await this.#engine.call("arguments", [op, text, shapes]);
    const inputs = args.filter(({ access }) => access !== "write").map((arg) => bytesOf(op, arg, named));
    for (const name of named.keys()) {
      if (!args.some((arg) => arg.name === name && arg.access !== "write")) {
        const names = args.filter(({ access }) => access !== "write").map((arg) => arg.name);
        throw new FoveateError("config", `${op} with these settings reads ${names.join(", ")}; there is no argument ${name}`);
      }
    }
    const outputs = await this.#engine.call("run", [op, text, shapes, inputs], hooks);
    const written = args.filter(({ access }) => access !== "read");
    return Object.fromEntries(written.map((arg, i) => [arg.name, typed(arg, outputs[i] as Uint8Array)]));
  }

  /** Returns the arguments of an op with these settings. */
  arguments(op: string, settings: AnySettings = {}): Promise<readonly Argument[]> {
    return this.#engine.call("arguments", [op, settingsText(settings), "{}"]);
  }

  /**
   * Returns the passes of an op on WebGPU as data, and runs nothing: the WGSL of each, its bindings and its workgroups. `gpu` is
   * the `GPUAdapter` or `GPUDevice` to plan for; without it, the plan keeps to WebGPU's default limits.
   */
  plan(op: string, settings: AnySettings = {}, gpu?: Capable): Promise<Plan> {
    return this.#engine.call("plan", [op, settingsText(settings), "{}", JSON.stringify(capsOf(gpu))]);
  }

  /** Draws valid inputs for an op: random numbers, and ids within the vocabulary. The same seed draws the same inputs. */
  async inputs(op: string, settings: AnySettings = {}, seed = 1): Promise<Record<string, Tensor>> {
    const text = settingsText(settings);
    const [args, all] = await Promise.all([
      this.#engine.call("arguments", [op, text, "{}"]),
      this.#engine.call("inputs", [op, text, seed]),
    ]);
    const read = args.map((arg, i) => [arg, typed(arg, all[i] as Uint8Array)] as const);
    return Object.fromEntries(read.filter(([{ access }]) => access !== "write").map(([{ name }, t]) => [name, t]));
  }

  /**
   * Checks this executor against expected results: a `.safetensors` case of an op, or the address of a model's folder with a
   * `golden.safetensors`. The format is that of `foveate check`.
   *
   * @throws {FoveateError} if the case cannot be run.
   */
  check(source: string | URL | Blob, options: Abortable = {}): Promise<readonly Finding[]> {
    const sent = source instanceof Blob ? source : absolute(source);
    return this.#engine.call("check", [sent, this.#kind, this.#baseline], hooksOf(options));
  }

  /** Runs built-in cases against the definitions: all, or those whose name (`op/shape`) passes `filter`. */
  async selfTest(
    filter: (name: string) => boolean = () => true,
    options: Abortable = {},
  ): Promise<readonly Finding[]> {
    const names = (await this.#engine.call("cases", [])).filter(filter);
    const findings: Finding[] = [];
    for (const name of names) {
      const found = await this.#engine.call("checkCase", [name], hooksOf(options));
      findings.push(...found.map((finding) => ({ ...finding, name })));
    }
    return findings;
  }

  /** Frees the device. Running calls fail with an error of code `closed`. */
  dispose(): void {
    this.#engine.close();
  }

}
