/** How layers mix tokens, and what those remember that do not keep every key. */

import { FoveateError } from "./error.js";

/** How a layer mixes tokens. */
export type Layer =
  | {
      readonly kind: "attention";
      readonly heads: number;
      /** Tokens that a query sees, its own among them; `null` for all. */
      readonly window: number | null;
    }
  | { readonly kind: "delta"; readonly heads: number; readonly keyDim: number; readonly valueDim: number }
  | {
      readonly kind: "routing";
      readonly heads: number;
      /** Centroids of a head. */
      readonly clusters: number;
      /** Tokens of a centroid at most. */
      readonly window: number;
    };

/** What a layer of the delta rule remembers: a matrix for each head. */
export interface DeltaState {
  readonly kind: "delta";
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** `[heads, keyDim, valueDim]`; zeros before the first token. */
  readonly values: Float32Array;
}

/** Which tokens the centroids of routing heads have. */
export interface RoutingState {
  readonly kind: "routing";
  /** Of each head, of each of its centroids, the tokens by their places in the session, ascending. */
  readonly members: readonly (readonly Uint32Array[])[];
}

/** What a layer remembers, from the words of its op: `[heads, keyDim, valueDim]`, or `[heads, clusters, words]`. */
export function stateOf(layer: Layer | undefined, words: Uint32Array | undefined): DeltaState | RoutingState {
  if (!words || !layer || layer.kind === "attention") {
    throw new FoveateError("config", layer ? "a layer of attention has no state: it keeps every key" : "there is no such layer");
  }
  if (layer.kind === "delta") return { ...layer, values: new Float32Array(words.buffer, words.byteOffset, words.length) };
  const { heads, clusters, window } = layer;
  const each = words.length / (heads * clusters);
  // The number of tokens, and then which.
  const tokens = (at: number) => words.slice(at + 1, at + 1 + Math.min(words[at] as number, window));
  const head = (h: number) => Array.from({ length: clusters }, (_, c) => tokens((h * clusters + c) * each));
  return { kind: "routing", members: Array.from({ length: heads }, (_, h) => head(h)) };
}
