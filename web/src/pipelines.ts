/**
 * Pipelines that compile beside each other and beside all else. WebGPU can do that, but the library below asks for one after
 * the other, for which browsers hold up the process that draws the page. So in a worker of our own, what is asked for ahead
 * is a stand-in at first.
 */

/** What is used of WebGPU; TypeScript has no types for it yet. */
interface Device {
  createComputePipeline(descriptor: object): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}

/** Pipelines that were asked for ahead, and those that are there. */
const counts = { asked: 0, there: 0 };
/** How many ask for pipelines ahead at the moment. */
let ahead = 0;
/** Where stand-ins are understood. */
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
    // What is wrong with it is said when it is used.
    const end = device.createComputePipelineAsync(descriptor).then(there, () => there());
    waiting.add(end);
  }

  get pipeline(): object {
    this.#pipeline ??= this.#now?.();
    this.#now = undefined;
    return this.#pipeline as object;
  }
}

/** Teaches the WebGPU of this thread what a stand-in is: for threads in which nothing else runs. */
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

/** What `work` asks for is asked for ahead. */
export function asking<T>(work: () => T): T {
  ahead++;
  try {
    return work();
  } finally {
    ahead--;
  }
}

/** A time in which pipelines are asked for ahead now and then. */
export class Ahead {
  readonly #before = { ...counts };
  #on = false;

  on(on: boolean): void {
    ahead += Number(on) - Number(this.#on);
    this.#on = on;
  }

  /** Those that are there, and all that were asked for since; where there are no stand-ins, what was told. */
  counted(told: { compiled: number; pipelines: number }): { compiled: number; pipelines: number } {
    if (!installed) return told;
    return { compiled: counts.there - this.#before.there, pipelines: counts.asked - this.#before.asked };
  }
}

/** Waits until everything that was asked for ahead is there; `hear` hears of each, and ends the wait by `false`. */
export async function settled(hear: () => boolean = () => true): Promise<void> {
  while (waiting.size > 0 && hear()) await Promise.race(waiting);
}
