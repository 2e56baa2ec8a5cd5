/**
 * WebGPU features that wgpu cannot request. A device has only the features of its request, so this module adds features to
 * the requests of this package, which have the label `foveate`. Other requests stay as they are.
 */

/** Label of devices with all features that kernels can use, see core/src/gpu/device.rs. */
const LABEL = "foveate";
const FEATURES = ["subgroups", "subgroup-size-control"];

interface Request {
  readonly label?: string;
  readonly requiredFeatures?: Iterable<string>;
}

/** The part of WebGPU that is used here; TypeScript has no types for it yet. */
interface Adapter {
  readonly features: { has(name: string): boolean };
  readonly info?: { readonly subgroupMinSize?: number; readonly subgroupMaxSize?: number };
  requestDevice(request?: Request): Promise<object>;
}

interface Gpu {
  requestAdapter(options: object): Promise<Adapter | null>;
}

/** The replaced `requestDevice`. Other code may replace it again. */
let widened: Adapter["requestDevice"] | undefined;

function widen(prototype: Adapter): void {
  const { requestDevice } = prototype;
  if (requestDevice === widened) return;
  widened = prototype.requestDevice = function (request) {
    const more = request?.label === LABEL ? FEATURES.filter((feature) => this.features.has(feature)) : [];
    if (more.length === 0) return requestDevice.call(this, request);
    const requiredFeatures = [...new Set([...(request?.requiredFeatures ?? []), ...more])];
    return requestDevice.call(this, { ...request, requiredFeatures });
  };
}

/** Returns the smallest and largest subgroup size of the devices of this package; zeros without subgroups. */
export async function subgroups(): Promise<readonly [min: number, max: number]> {
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  const { GPUAdapter } = globalThis as { GPUAdapter?: { prototype: Adapter } };
  // Shaders that enable subgroups hang or end the process in Deno (2.9.6, on lavapipe).
  if (!gpu || !GPUAdapter || "Deno" in globalThis) return [0, 0];
  widen(GPUAdapter.prototype);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter?.info ?? {};
  return adapter?.features.has("subgroups") ? [subgroupMinSize, subgroupMaxSize] : [0, 0];
}
