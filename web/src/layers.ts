/** Kinds of layers, and the states of delta-rule and routing layers. */

import { FoveateError } from "./error.js";

/** Kind and sizes of a layer's sequence mixer. */
export type Layer =
  | {
      readonly kind: "attention";
      readonly heads: number;
      /** Tokens that a query attends to, its own included; `null` for all tokens before it. */
      readonly window: number | null;
    }
  | { readonly kind: "delta"; readonly heads: number; readonly keyDim: number; readonly valueDim: number }
  | {
      readonly kind: "routing";
      readonly heads: number;
      /** Centroids per head. */
      readonly clusters: number;
      /** Maximum number of tokens per centroid. */
      readonly window: number;
    };

/** State of a delta-rule layer: one matrix per head. */
export interface DeltaState {
  readonly kind: "delta";
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** `[heads, keyDim, valueDim]`. All zeros before the first token. */
  readonly values: Float32Array;
}

/** State of a routing layer: the tokens of each centroid. */
export interface RoutingState {
  readonly kind: "routing";
  /** Indices of tokens in the session, ascending, for each centroid of each head: `members[head][centroid]`. */
  readonly members: readonly (readonly Uint32Array[])[];
}

/** Decodes the state of a layer from its words: `[heads, keyDim, valueDim]`, or `[heads, clusters, words]`. */
export function stateOf(layer: Layer | undefined, words: Uint32Array | undefined): DeltaState | RoutingState {
  if (!words || !layer || layer.kind === "attention") {
    throw new FoveateError("config", layer ? "an attention layer has no state: only delta-rule and routing layers do" : "the model has no such layer: layers are counted from 0, see `model.layers`");
  }
  if (layer.kind === "delta") return { ...layer, values: new Float32Array(words.buffer, words.byteOffset, words.length) };
  const { heads, clusters, window } = layer;
  const each = words.length / (heads * clusters);
  // A count, then the tokens.
  const tokens = (at: number) => words.slice(at + 1, at + 1 + Math.min(words[at] as number, window));
  const head = (h: number) => Array.from({ length: clusters }, (_, c) => tokens((h * clusters + c) * each));
  return { kind: "routing", members: Array.from({ length: heads }, (_, h) => head(h)) };
}
