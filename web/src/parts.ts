/** The module of answers' parts and constraints, which is loaded with the first call that needs it. */

import * as constrain from "../pkg/constrain/foveate.js";
import * as plain from "../pkg/parts/foveate.js";
import type { JsGuide, Model as WasmModel } from "../pkg/foveate.js";
import type { Asked, TemplateInputs } from "./methods.js";
import { moduleUrlOf, unloaded, wasmAt } from "./modules.js";

export type Exchange = plain.Exchange;
type Vocabulary = constrain.Vocabulary;

type Guide = JsGuide & { free(): void };

/** Returns a function that loads a module at its first call. After a failure, the next call loads it again. */
function loader<Module extends { default(options: { module_or_path: ReturnType<typeof wasmAt> }): Promise<unknown> }>(module: Module, url: () => URL): () => Promise<Module> {
  let loading: Promise<unknown> | undefined;
  return async () => {
    loading ??= module.default({ module_or_path: wasmAt(url()) }).catch((error) => {
      loading = undefined;
      throw unloaded(error);
    });
    await loading;
    return module;
  };
}

const withoutConstraints = loader(plain, () => moduleUrlOf("parts/foveate_bg.wasm", new URL("../pkg/parts/foveate_bg.wasm", import.meta.url)));
/** This build is several times larger, so it is loaded only for answers with a constraint. */
const withConstraints = loader(constrain, () => moduleUrlOf("constrain/foveate_bg.wasm", new URL("../pkg/constrain/foveate_bg.wasm", import.meta.url)));

/** Frees a wasm object. A running step, or one that has failed, may still borrow it: the garbage collector frees it then. */
export function release(held: { free(): void } | undefined): void {
  try {
    held?.free();
  } catch {
    // A step borrows it.
  }
}

/** Wasm objects of an answer besides its generation: `exchange` splits it into parts, `guide` constrains it. */
export interface AnswerObjects {
  readonly exchange: Exchange;
  readonly guide: Guide | undefined;
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
  async guide(constraint: string | undefined): Promise<Guide | undefined> {
    if (constraint === undefined) return undefined;
    await withConstraints();
    return new constrain.Guide(this.#modelVocabulary(), constraint) as Guide;
  }

  /**
   * Begins to answer a conversation. `tokens` renders the conversation with the given inputs of the template, and returns its
   * tokens up to where the answer begins.
   */
  async begin(inputs: TemplateInputs, { toolChoice, constraint }: Asked, tokens: (inputs: string) => Uint32Array): Promise<AnswerObjects & { ids: Uint32Array }> {
    const constraints = constraint !== undefined || !["auto", "none"].includes(toolChoice);
    const parts = await (constraints ? withConstraints() : withoutConstraints());
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
      const guide = constraints ? (exchange as constrain.Exchange).guide(this.#modelVocabulary()) : undefined;
      return { exchange, guide: guide as Guide | undefined, ids };
    } catch (error) {
      release(exchange);
      throw error;
    }
  }

  #modelVocabulary(): Vocabulary {
    const encode = (text: string) => this.#model().tokenize(text, false);
    return (this.#vocabulary ??= new constrain.Vocabulary(this.#model().tokenBytes(), this.#model().endTokens, encode));
  }
}
