/** Single ops on the caller's own `GPUDevice` and buffers. The engine returns plans as data; passes run in this thread. */

import type { OpArguments, OpName } from "../pkg/ops.js";
import { FoveateError } from "./error.js";
import type { Argument, Engine, Pass, Plan } from "./methods.js";
import { type AnySettings, byName, bytesOf, hooksOf, type Settings, settingsText, shapesOf, type Tensor, type TensorData, type Tensors, typed } from "./tensors.js";

/** The part of `GPUDevice` that is used here. It fits the WebGPU types of any program. */
export interface OwnDevice {
  readonly features: { has(name: string): boolean };
  readonly limits: object;
  readonly queue: object;
  createBuffer(descriptor: never): OwnBuffer;
}

/** The part of `GPUBuffer` that is used here. */
export interface OwnBuffer {
  readonly size: number;
  destroy(): unknown;
}

/** The buffer type of a device. */
export type BufferOf<D extends OwnDevice> = ReturnType<D["createBuffer"]>;

/**
 * A tensor in a buffer of the caller's device, with usage `STORAGE`. It starts at byte `offset`, a multiple of 4. For some
 * arguments, `offset` must be a multiple of the device's `minStorageBufferOffsetAlignment`.
 */
export interface BufferTensor<B extends OwnBuffer = OwnBuffer> {
  readonly data: B;
  readonly shape: readonly number[];
  readonly offset?: number;
  /** Element type. `download` decodes the bytes with it: `f32` by default. */
  readonly dtype?: string;
}

/** A tensor as an argument of an op: in a buffer, or as a typed array. */
export type BufferInput<B extends OwnBuffer> = BufferTensor<B> | Tensor | TensorData;

/**
 * An op over buffers. Typed arrays are uploaded. Each output is a new buffer with usages `STORAGE`, `COPY_SRC` and
 * `COPY_DST`, or the buffer given under the name of the output.
 */
export type BufferKernel<B extends OwnBuffer, Op extends OpName = OpName> = (
  settings: Settings<Op>,
  ...tensors: Tensors<BufferInput<B>, OpArguments[Op]>
) => Promise<Record<string, BufferTensor<B>>>;

/** The caller's device, with every op as a method. */
export type BufferDevice<D extends OwnDevice> = BufferExecutor<D> & { readonly [Op in OpName]: BufferKernel<BufferOf<D>, Op> };

// Values of `GPUBufferUsage`, `GPUShaderStage.COMPUTE` and `GPUMapMode.READ`, which are no globals without WebGPU.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 0x40, 0x80];
const [COMPUTE, READ] = [4, 1];

/** Bytes between the parameters of two passes: an offset that every device allows. */
const STRIDE = 256;

/** A binding: `skip` is the distance from its start to the start of the argument, in bytes. */
interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
  readonly skip: number;
}

/** Runs ops on the caller's device. Other work on the device continues. */
export class BufferExecutor<D extends OwnDevice> {
  readonly #engine: Engine;
  readonly #gpu: GPUDevice;
  readonly #caps: Readonly<Record<string, number>>;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #scratch: GPUBuffer[] = [];
  /** Names of all ops. */
  readonly ops: readonly string[];

  /** @internal */
  constructor(engine: Engine, gpu: D, baseline: boolean, ops: readonly string[]) {
    this.#engine = engine;
    this.#gpu = gpu as unknown as GPUDevice;
    this.#caps = capsOf(this.#gpu, baseline);
    this.ops = ops;
  }

  /**
   * Runs an op by its name, and submits it to the device's queue before the promise resolves.
   *
   * @throws {FoveateError}
   */
  async run(op: string, settings: AnySettings, ...tensors: Tensors<BufferInput<BufferOf<D>>>): Promise<Record<string, BufferTensor<BufferOf<D>>>> {
    const text = settingsText(settings);
    const named = await byName(this.#engine, op, text, tensors);
    const caps = JSON.stringify(this.#caps);
    const plan = await this.#engine.call("plan", [op, text, shapesOf(named), caps], hooksOf(settings));
    for (const name of named.keys()) {
      if (!plan.args.some((arg) => arg.name === name)) {
        throw new FoveateError("config", `${op} with these settings takes ${plan.args.map(({ name }) => name).join(", ")}; there is no argument ${name}`);
      }
    }
    const pipelines = await Promise.all(plan.passes.map((pass) => this.#pipeline(pass)));
    const temporary: GPUBuffer[] = [];
    try {
      return await this.#checked(op, () => {
        const held = plan.args.map((arg) => this.#hold(op, arg, named, temporary));
        this.#submit(op, plan, pipelines, held, temporary);
        const written = plan.args.flatMap((arg, i) => (arg.access === "read" ? [] : [[arg.name, held[i]] as const]));
        return Object.fromEntries(written) as unknown as Record<string, BufferTensor<BufferOf<D>>>;
      });
    } finally {
      // A destroyed buffer stays valid for work that was already submitted.
      for (const buffer of temporary) buffer.destroy();
    }
  }

  /** Downloads a tensor whose buffer has usage `COPY_SRC`, after all submitted work. */
  async download({ data, shape, offset = 0, dtype = "f32" }: BufferTensor<BufferOf<D>>): Promise<Tensor> {
    const elements = shape.reduce((all, n) => all * n, 1);
    const bytes = typedBytes(dtype, elements);
    const size = Math.ceil(bytes / 4) * 4;
    const staging = this.#gpu.createBuffer({ size: Math.max(size, 4), usage: MAP_READ | COPY_DST });
    try {
      await this.#checked("download", () => {
        const encoder = this.#gpu.createCommandEncoder();
        encoder.copyBufferToBuffer(data as unknown as GPUBuffer, offset, staging, 0, size);
        this.#gpu.queue.submit([encoder.finish()]);
      });
      await staging.mapAsync(READ).catch((error) => {
        throw new FoveateError("device", `download: ${error}`, { cause: error });
      });
      const copy = new Uint8Array(staging.getMappedRange().slice(0, bytes));
      return typed({ name: "", dtype, shape, bytes, access: "read" }, copy);
    } finally {
      staging.destroy();
    }
  }

  /** Returns the arguments of an op with these settings. */
  arguments(op: string, settings: AnySettings = {}): Promise<readonly Argument[]> {
    return this.#engine.call("arguments", [op, settingsText(settings), "{}"]);
  }

  /** Frees pipelines and scratch buffers. The caller owns the device and the returned buffers. */
  dispose(): void {
    this.#engine.close();
    this.#pipelines.clear();
    for (const buffer of this.#scratch.splice(0)) buffer.destroy();
  }

  /** Runs `work`, which must be synchronous, inside error scopes, and throws the errors that the device reports. */
  async #checked<T>(op: string, work: () => T): Promise<T> {
    for (const filter of ["validation", "out-of-memory"] as const) this.#gpu.pushErrorScope(filter);
    let result: T | undefined;
    let thrown: unknown;
    try {
      result = work();
    } catch (error) {
      thrown = error;
    }
    const scopes = Promise.all([this.#gpu.popErrorScope(), this.#gpu.popErrorScope()]);
    const [memory, validation] = await scopes.catch(() => [undefined, undefined]);
    if (thrown) throw thrown;
    if (memory) throw new FoveateError("out-of-memory", `${op}: ${memory.message}`);
    if (validation) throw new FoveateError("device", `${op}: ${validation.message}`);
    return result as T;
  }

  #pipeline(pass: Pass): Promise<GPUComputePipeline> {
    const known = this.#pipelines.get(pass.code);
    if (known) return known;
    const entry = (binding: number, buffer: GPUBufferBindingLayout) => ({ binding, visibility: COMPUTE, buffer });
    const storage = pass.bindings.map(({ writes }, i) => entry(i, { type: writes ? "storage" : "read-only-storage" }));
    const groups = [storage, [entry(0, { type: "uniform" })]];
    const layout = this.#gpu.createPipelineLayout({
      bindGroupLayouts: groups.map((entries) => this.#gpu.createBindGroupLayout({ entries })),
    });
    const module = this.#gpu.createShaderModule({ label: pass.name, code: pass.code });
    const compute = { module, entryPoint: "main" };
    const pipeline = this.#gpu.createComputePipelineAsync({ label: pass.name, layout, compute }).catch((error) => {
      this.#pipelines.delete(pass.code);
      throw new FoveateError("device", `${pass.name}: ${error.message ?? error}`, { cause: error });
    });
    this.#pipelines.set(pass.code, pipeline);
    return pipeline;
  }

  /** Returns the tensor of an argument: the given buffer, an upload, or a new buffer. */
  #hold(op: string, arg: Argument, named: Map<string, BufferInput<BufferOf<D>>>, temporary: GPUBuffer[]): BufferTensor {
    const given = named.get(arg.name);
    const { dtype, shape } = arg;
    const create = () => {
      const size = Math.max(Math.ceil(arg.bytes / 16) * 16, 16);
      return this.#gpu.createBuffer({ label: arg.name, size, usage: STORAGE | COPY_SRC | COPY_DST });
    };
    if (given && "data" in given && !ArrayBuffer.isView(given.data)) {
      const { data, offset = 0 } = given as BufferTensor;
      if (offset % 4 || !(offset >= 0) || offset + arg.bytes > data.size) {
        throw new FoveateError("config", `${op}: ${arg.name} needs ${arg.bytes} bytes at an offset that is a multiple of 4, got offset ${offset} in a buffer of ${data.size} bytes`);
      }
      return { data, offset, shape, dtype };
    }
    if (!given && arg.access === "write") return { data: create(), shape, dtype };
    const bytes = bytesOf(op, arg, named as Map<string, Tensor | TensorData>);
    if (bytes.length !== arg.bytes) {
      throw new FoveateError("config", `${op}: ${arg.name} must be [${shape}] of ${dtype} in ${arg.bytes} bytes, got ${bytes.length} bytes`);
    }
    const data = create();
    if (arg.access === "read") temporary.push(data);
    const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    whole.set(bytes);
    this.#gpu.queue.writeBuffer(data, 0, whole);
    return { data, shape, dtype };
  }

  #submit(op: string, plan: Plan, pipelines: GPUComputePipeline[], held: BufferTensor[], temporary: GPUBuffer[]): void {
    const gpu = this.#gpu;
    plan.scratch.forEach((bytes, i) => {
      const old = this.#scratch[i];
      if (old && old.size >= bytes) return;
      old?.destroy();
      this.#scratch[i] = gpu.createBuffer({ label: "scratch", size: Math.max(Math.ceil(bytes / 16) * 16, 16), usage: STORAGE });
    });
    if (plan.passes.length === 0) return;
    const uniform = gpu.createBuffer({ label: "params", size: plan.passes.length * STRIDE, usage: UNIFORM | COPY_DST });
    temporary.push(uniform);
    const words = new Uint32Array((plan.passes.length * STRIDE) / 4);
    const encoder = gpu.createCommandEncoder({ label: op });
    const encoded = encoder.beginComputePass({ label: op });
    plan.passes.forEach((pass, index) => {
      const pipeline = pipelines[index] as GPUComputePipeline;
      const places = pass.bindings.map((binding) => this.#place(binding, held));
      words.set(params(op, pass, places, plan.args), (index * STRIDE) / 4);
      const group = (at: number, resources: GPUBufferBinding[]) => {
        const entries = resources.map((resource, binding) => ({ binding, resource }));
        encoded.setBindGroup(at, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(at), entries }));
      };
      encoded.setPipeline(pipeline);
      group(0, places.map(({ buffer, offset, size }) => ({ buffer, offset, size })));
      group(1, [{ buffer: uniform, offset: index * STRIDE, size: STRIDE }]);
      encoded.dispatchWorkgroups(...pass.workgroups);
    });
    encoded.end();
    gpu.queue.writeBuffer(uniform, 0, words);
    gpu.queue.submit([encoder.finish()]);
  }

  #place({ arg, scratch, offset, bytes }: Pass["bindings"][number], held: BufferTensor[]): Place {
    const { data, offset: from = 0 } = arg === undefined ? { data: this.#scratch[scratch as number] as GPUBuffer } : (held[arg] as BufferTensor);
    const at = from + offset;
    const skip = at % (this.#caps.alignment as number);
    // Kernels that read vectors may read up to the end of the last vector.
    const size = Math.min(Math.ceil((skip + bytes) / 16) * 16, data.size - (at - skip));
    return { buffer: data as unknown as GPUBuffer, offset: at - skip, size: size - (size % 4), skip };
  }
}

/** Returns the parameter words of a pass. */
function params(op: string, pass: Pass, places: readonly Place[], args: readonly Argument[]): number[] {
  const started = new Set<number>();
  const words = pass.params.map((param) => {
    if (typeof param === "number") return param;
    const [arg, unit] = param;
    const bound = pass.bindings.findIndex((binding) => binding.arg === arg);
    started.add(bound);
    const { skip } = places[bound] as Place;
    if (skip % unit) throw new FoveateError("config", `${op}: the offset of ${args[arg]?.name} must be a multiple of ${unit} bytes`);
    return skip / unit;
  });
  pass.bindings.forEach(({ arg }, i) => {
    if (places[i]?.skip && !started.has(i)) {
      throw new FoveateError("config", `${op}: the offset of ${args[arg as number]?.name} must be a multiple of the device's minStorageBufferOffsetAlignment`);
    }
  });
  return words;
}

/** The part of `GPUAdapter` and `GPUDevice` that shaders depend on. */
export interface Capable {
  readonly features: { has(name: string): boolean };
  readonly limits: object;
}

/** Limits of every WebGPU device. */
const BASELINE: Capable = {
  features: new Set<string>(),
  limits: {
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxStorageBuffersPerShaderStage: 8,
    maxStorageBufferBindingSize: 1 << 27,
    maxBufferSize: 1 << 28,
    maxComputeWorkgroupsPerDimension: 65535,
    minStorageBufferOffsetAlignment: 256,
  },
};

/** Returns the capabilities of a device or an adapter, for planning. */
export function capsOf(gpu: Capable = BASELINE, baseline = false): Record<string, number> {
  const { features } = gpu;
  const limits = gpu.limits as GPUSupportedLimits;
  const { adapterInfo, info = adapterInfo ?? {} } = gpu as { adapterInfo?: Partial<GPUAdapterInfo>; info?: Partial<GPUAdapterInfo> };
  const subgroups = !baseline && features.has("subgroups") && info.subgroupMinSize !== undefined;
  const most = (limit: number, baseline_: number) => (baseline ? Math.min(limit, baseline_) : limit);
  return {
    f16: Number(!baseline && features.has("shader-f16")),
    subgroups: Number(subgroups),
    subgroupMin: subgroups ? (info.subgroupMinSize as number) : 0,
    subgroupMax: subgroups ? (info.subgroupMaxSize as number) : 0,
    workgroupBytes: most(limits.maxComputeWorkgroupStorageSize, 16384),
    invocations: most(Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX), 256),
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    bindingBytes: limits.maxStorageBufferBindingSize,
    bufferBytes: limits.maxBufferSize,
    workgroups: limits.maxComputeWorkgroupsPerDimension,
    alignment: limits.minStorageBufferOffsetAlignment,
    software: Number(!baseline && info.isFallbackAdapter === true),
  };
}

/** Returns the bytes of `elements` elements. Block formats have no fixed size per element. */
function typedBytes(dtype: string, elements: number): number {
  const size = { f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2 }[dtype];
  if (!size) throw new FoveateError("config", `cannot download a tensor of ${dtype}: only f32, i32, u32, f16 and bf16 can be downloaded`);
  return size * elements;
}
