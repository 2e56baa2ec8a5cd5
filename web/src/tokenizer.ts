/** Tokenizers and chat templates without models, in the calling thread. */

import type { Tokenizer as WasmTokenizer } from "../pkg/foveate.js";
import type { RequestOptions } from "./add.js";
import { absolute } from "./address.js";
import { checked } from "./answer.js";
import { type Abortable, FoveateError, throwIfAborted } from "./error.js";
import { compiled, glue } from "./glue.js";
import { inputsOf, type Message, type TemplateOptions } from "./methods.js";
import { locate } from "./modules.js";
import { checkOptions, type OptionNames } from "./options.js";
import { openText, withFiles } from "./source.js";
import { type ModelSource, prepareThreads, sendable } from "./spawn.js";

/** Options of {@link tokenizer}. */
export interface TokenizerOptions extends RequestOptions, Abortable {
  /** Keeps downloaded files in the browser, and reads them from there: `true` by default. */
  readonly cache?: boolean;
  /** Address of a copy of the wasm, as in {@link EngineOptions}. */
  readonly wasmUrl?: string | URL;
}

const OPTIONS: OptionNames<TokenizerOptions> = {
  ...{ hub: true, headers: true, fetch: true, timeout: true },
  ...{ signal: true, cache: true, wasmUrl: true },
};

/** Implements {@link tokenizer}. */
export async function open(source: ModelSource, options: TokenizerOptions): Promise<Tokenizer> {
  checkOptions("tokenizer", options, OPTIONS);
  const { hub, headers, fetch, timeout, signal, cache = true, wasmUrl } = options;
  throwIfAborted(signal);
  if (wasmUrl !== undefined) locate(absolute(wasmUrl));
  try {
    await prepareThreads();
    const [sent] = await Promise.all([sendable(source, hub, signal), compiled()]);
    return new Tokenizer(await withFiles(sent, { headers, fetch, timeout, signal, cache, ahead: 0 }, glue.openTokenizer, openText));
  } catch (error) {
    throw FoveateError.from(error);
  }
}

/** Runs a call of the wasm, which throws errors with codes. */
function calling<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw FoveateError.from(error);
  }
}

/** The tokenizer of a model, and its chat template. Its methods return at once. */
export class Tokenizer {
  /** Number of tokens of the vocabulary, added ones included. */
  readonly vocabSize: number;
  /** `false` if the files have no chat template: {@link render} throws. */
  readonly hasTemplate: boolean;
  /**
   * Tokens that end a text, sorted: those that the tokenizer's own files list, and those whose names are known. The model may
   * have more, in `config.json` and `generation_config.json`: a loaded model has them all.
   */
  readonly endTokens: readonly number[];
  readonly #inner: WasmTokenizer;

  /** @internal */
  constructor(inner: WasmTokenizer) {
    this.#inner = inner;
    this.vocabSize = inner.vocabSize;
    this.hasTemplate = inner.hasTemplate;
    this.endTokens = [...inner.endTokens];
  }

  /** Returns the token ids of a text. `addSpecial` adds the special tokens that the model expects around a text. */
  encode(text: string, { addSpecial = true }: { addSpecial?: boolean } = {}): Uint32Array {
    return calling(() => this.#inner.encode(text, addSpecial));
  }

  /** Returns the text of token ids. `skipSpecial` leaves out special tokens. */
  decode(ids: Iterable<number>, { skipSpecial = true }: { skipSpecial?: boolean } = {}): string {
    return calling(() => this.#inner.decode(checked(ids), skipSpecial));
  }

  /**
   * Returns the number of tokens of a prompt: of a text with its special tokens, or of a conversation as the chat template
   * writes it, with the start of the answer.
   */
  count(prompt: string | readonly Message[], options: TemplateOptions = {}): number {
    return typeof prompt === "string" ? this.encode(prompt).length : this.encode(this.render(prompt, options), { addSpecial: false }).length;
  }

  /** Renders a conversation with the chat template. `addGenerationPrompt` appends the start of the assistant's message. */
  render(messages: readonly Message[], { addGenerationPrompt, ...options }: { addGenerationPrompt?: boolean } & TemplateOptions = {}): string {
    return calling(() => this.#inner.render(JSON.stringify(messages), JSON.stringify(inputsOf(options, addGenerationPrompt))));
  }

  /** Returns the spelling of a token in the vocabulary; `undefined` if there is none. */
  token(id: number): string | undefined {
    return this.#inner.token(id);
  }

  /** Returns the id of a token by its spelling in the vocabulary; `undefined` if there is none. */
  id(token: string): number | undefined {
    return this.#inner.id(token);
  }

  /** Frees the memory. The garbage collector does so, too, some time after the last use. */
  dispose(): void {
    this.#inner.free();
  }
}
