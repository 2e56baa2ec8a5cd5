/**
 * Compiles pipelines in parallel. WebGPU can compile asynchronously, but wgpu creates one pipeline after the other, and
 * browsers block the process that draws the page meanwhile. In a worker of this package, pipelines that are created ahead of
 * their first use are stand-ins at first.
 */

/** The part of WebGPU that is used here; TypeScript has no types for it yet. */
interface Device {
  createComputePipeline(descriptor: object): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}

/** Pipelines requested ahead, and pipelines that are compiled. */
const counts = { asked: 0, there: 0 };
/** Number of callers that request pipelines ahead at the moment. */
let ahead = 0;
/** `true` in threads where `setPipeline` accepts stand-ins. */
let installed = false;
const waiting = new Set<Promise<void>>();

class StandIn {
  #pipeline: object | undefined;
  #now: (() => object) | undefined;

  constructor(device: Device, descriptor: object, now: () => object) {
    this.#now = now;
    counts.asked++;
    const there = (pipeline?: object) => {
      this.#pipeline ??= pipeline;
      counts.there++;
      waiting.delete(end);
    };
    // A pipeline that fails to compile is compiled again when it is used, which reports the error.
    const end = device.createComputePipelineAsync(descriptor).then(there, () => there());
    waiting.add(end);
  }

  get pipeline(): object {
    this.#pipeline ??= this.#now?.();
    this.#now = undefined;
    return this.#pipeline as object;
  }
}

/** Makes the WebGPU of this thread accept stand-ins. For threads that run no other code. */
export function install(): void {
  const { GPUDevice, GPUComputePassEncoder } = globalThis as unknown as Record<string, { prototype: object } | undefined>;
  if (installed || !GPUDevice || !GPUComputePassEncoder) return;
  installed = true;
  const device = GPUDevice.prototype as Device;
  const { createComputePipeline } = device;
  device.createComputePipeline = function (descriptor) {
    const now = () => createComputePipeline.call(this, descriptor);
    return ahead > 0 ? new StandIn(this, descriptor, now) : now();
  };
  const pass = GPUComputePassEncoder.prototype as { setPipeline(pipeline: object): void };
  const { setPipeline } = pass;
  pass.setPipeline = function (pipeline) {
    setPipeline.call(this, pipeline instanceof StandIn ? pipeline.pipeline : pipeline);
  };
}

/** Runs `work`, and compiles the pipelines that it creates in the background. */
export function asking<T>(work: () => T): T {
  ahead++;
  try {
    return work();
  } finally {
    ahead--;
  }
}

/** Switches background compilation on and off, and counts the pipelines since it was made. */
export class Ahead {
  readonly #before = { ...counts };
  #on = false;

  on(on: boolean): void {
    ahead += Number(on) - Number(this.#on);
    this.#on = on;
  }

  /** Returns compiled and requested pipelines. Without stand-ins, returns `told`. */
  counted(told: { compiled: number; pipelines: number }): { compiled: number; pipelines: number } {
    if (!installed) return told;
    return { compiled: counts.there - this.#before.there, pipelines: counts.asked - this.#before.asked };
  }
}

/** Waits until all requested pipelines are compiled. Calls `hear` after each; `false` from it ends the wait. */
export async function settled(hear: () => boolean = () => true): Promise<void> {
  while (waiting.size > 0 && hear()) await Promise.race(waiting);
}
