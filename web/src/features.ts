/**
 * Features of WebGPU that the library below cannot ask for. A device has the features of its request and no others, so the
 * requests of this package, which are known by their label, ask for more on their way. Requests of others stay as they are.
 */

/** The label in core/src/gpu/device.rs of devices with all that kernels can use. */
const LABEL = "foveate";
const FEATURES = ["subgroups", "subgroup-size-control"];

interface Request {
  readonly label?: string;
  readonly requiredFeatures?: Iterable<string>;
}

/** What is used of WebGPU; TypeScript has no types for it yet. */
interface Adapter {
  readonly features: { has(name: string): boolean };
  readonly info?: { readonly subgroupMinSize?: number; readonly subgroupMaxSize?: number };
  requestDevice(request?: Request): Promise<object>;
}

interface Gpu {
  requestAdapter(options: object): Promise<Adapter | null>;
}

/** The widened method, while it stands there: others may replace it in their turn. */
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

/** The smallest and the largest subgroup of devices that this package requests from now on; zeros where they have none. */
export async function subgroups(): Promise<readonly [min: number, max: number]> {
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  const { GPUAdapter } = globalThis as { GPUAdapter?: { prototype: Adapter } };
  if (!gpu || !GPUAdapter) return [0, 0];
  widen(GPUAdapter.prototype);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter?.info ?? {};
  return adapter?.features.has("subgroups") ? [subgroupMinSize, subgroupMaxSize] : [0, 0];
}
