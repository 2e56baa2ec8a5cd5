/** The module of answers' parts and constraints, which is loaded with the first call that needs it. */

import * as constrain from "../pkg/constrain/foveate.js";
import * as plain from "../pkg/parts/foveate.js";
import type { JsGuide, Model as WasmModel } from "../pkg/foveate.js";
import { FoveateError } from "./error.js";
import { moduleUrlOf, wasmAt } from "./glue.js";
import type { Asked, TemplateInputs } from "./methods.js";

export type Exchange = plain.Exchange;
type Vocabulary = constrain.Vocabulary;

type Loading = Promise<unknown> | undefined;
let [withConstraints, withoutConstraints]: [Loading, Loading] = [undefined, undefined];

const unloadable = (cause: unknown) => {
  throw new FoveateError("read", `cannot load the wasm: ${cause}`, { cause });
};

/** Loads the build with constraints, which is several times larger, only where they are asked for. */
async function loaded(constraints: boolean): Promise<typeof plain | typeof constrain> {
  if (constraints) {
    const url = moduleUrlOf("constrain/foveate_bg.wasm", new URL("../pkg/constrain/foveate_bg.wasm", import.meta.url));
    withConstraints ??= constrain.default({ module_or_path: wasmAt(url) });
    await withConstraints.catch((error) => ((withConstraints = undefined), unloadable(error)));
    return constrain;
  }
  const url = moduleUrlOf("parts/foveate_bg.wasm", new URL("../pkg/parts/foveate_bg.wasm", import.meta.url));
  withoutConstraints ??= plain.default({ module_or_path: wasmAt(url) });
  await withoutConstraints.catch((error) => ((withoutConstraints = undefined), unloadable(error)));
  return plain;
}

/** Frees a wasm object. A running step, or one that has failed, may still borrow it: the garbage collector frees it then. */
export function release(held: { free(): void } | undefined): void {
  try {
    held?.free();
  } catch {
    // A step borrows it.
  }
}

/** An answer's parts and its constraint. */
export interface Reading {
  readonly exchange: Exchange;
  readonly guide: (JsGuide & { free(): void }) | undefined;
}

/** The parts of a model's answers, and constraints on them. */
export class Parts {
  readonly #model: () => WasmModel;
  #vocabulary: Vocabulary | undefined;

  /** `model` returns the model, which is another one after its device was lost. */
  constructor(model: () => WasmModel) {
    this.#model = model;
  }

  free(): void {
    release(this.#vocabulary);
    this.#vocabulary = undefined;
  }

  /** Compiles a constraint on an answer to a text or to tokens. */
  async guide(constraint: string | undefined): Promise<(JsGuide & { free(): void }) | undefined> {
    if (constraint === undefined) return undefined;
    await loaded(true);
    return new constrain.Guide(this.#words(), constraint) as JsGuide & { free(): void };
  }

  /**
   * Begins to answer a conversation. `tokens` returns its tokens, up to where the answer begins, by the inputs of the
   * template that it gets.
   */
  async begin(inputs: TemplateInputs, { toolChoice, constraint }: Asked, tokens: (inputs: string) => Uint32Array): Promise<Reading & { ids: Uint32Array }> {
    const constraints = constraint !== undefined || !["auto", "none"].includes(toolChoice);
    const parts = await loaded(constraints);
    const chosen = parts.templateInputs(JSON.stringify(inputs), toolChoice);
    const ids = tokens(chosen);
    const model = this.#model();
    const lexicon = {
      template: (inputs: string) => model.templateSource(inputs),
      id: (token: string) => model.tokenId(token),
      isControl: (id: number) => model.isControl(id),
      encode: (text: string) => model.tokenize(text, false),
      decode: (ids: Uint32Array) => model.detokenize(ids, false),
    };
    const exchange = new parts.Exchange(lexicon, chosen, toolChoice, constraint, ids);
    try {
      const guide = constraints ? (exchange as constrain.Exchange).guide(this.#words()) : undefined;
      return { exchange, guide: guide as (JsGuide & { free(): void }) | undefined, ids };
    } catch (error) {
      release(exchange);
      throw error;
    }
  }

  #words(): Vocabulary {
    const encode = (text: string) => this.#model().tokenize(text, false);
    return (this.#vocabulary ??= new constrain.Vocabulary(this.#model().tokenBytes(), this.#model().endTokens, encode));
  }
}
