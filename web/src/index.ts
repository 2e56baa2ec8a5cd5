/**
 * Language models in the browser.
 *
 * ```js
 * import { load } from "foveate";
 *
 * const model = await load("https://example.com/SmolLM2-135M-Instruct.Q4_1.gguf", {
 *   onProgress: ({ bytes, of }) => console.log(bytes / of),
 * });
 * for await (const piece of model.generate([{ role: "user", content: "Who was Ada Lovelace?" }])) {
 *   document.body.append(piece);
 * }
 * ```
 *
 * @module
 */

import type { Device as DeviceKind, Engine, Info, Message, Progress, Stats, Step } from "./engine.js";
import { abortable, FoveateError, throwIfAborted } from "./error.js";
import { type ModelSource, sendable, spawnEngine } from "./spawn.js";

export { type CachedModel, cache } from "./cache.js";
export * from "./device.js";
export type { FoveateErrorCode } from "./error.js";
export type { DeviceKind, Message, ModelSource, Progress, Stats };
export { FoveateError };

export interface LoadOptions {
  /**
   * `auto` takes WebGPU where there is a real GPU, and the processor otherwise; `gpu` takes WebGPU also where a driver
   * plays a GPU in software, or fails; `cpu` takes the processor; `reference` computes by the definitions, slowly.
   */
  readonly device?: DeviceKind;
  /**
   * Hears that the GPU's driver took the device away in the midst of an answer. The model has been loaded onto a new one,
   * from the cache where it is there, the answer's tokens have been read again, and it goes on as if nothing had been.
   */
  readonly onDeviceLost?: () => void;
  /** Hears of every piece that was loaded. */
  readonly onProgress?: (progress: Progress) => void;
  /** Ends the loading with an error of code `cancelled`, and frees what was loaded. */
  readonly signal?: AbortSignal;
  /** `false` runs everything in the calling thread; by default it runs in a worker where there are workers. */
  readonly worker?: boolean;
  /**
   * Keep what is downloaded in the browser, and take from there what was kept: the default where the browser can. A
   * second load asks the server for nothing; `cache` lists and forgets.
   */
  readonly cache?: boolean;
  /** Where models of a hub are, `https://huggingface.co` by default. */
  readonly hub?: string;
  /** Use no more of the GPU than WebGPU guarantees everywhere: to see what others will see. */
  readonly baseline?: boolean;
}

export interface GenerateOptions {
  /** 256 by default. An answer also ends where the model's context does. */
  readonly maxTokens?: number;
  /** 0, the default, takes the likeliest token. */
  readonly temperature?: number;
  /** Draw from the likeliest so many tokens only; 0 is no limit. */
  readonly topK?: number;
  /** Draw from the likeliest tokens that together have this probability. */
  readonly topP?: number;
  /** Draw from tokens that are at least so likely, as a part of the likeliest one's probability. */
  readonly minP?: number;
  /** Divides the logits of tokens that occurred; 1 leaves them. */
  readonly repetitionPenalty?: number;
  /** The same seed gives the same answer. */
  readonly seed?: number;
  /**
   * Tell how likely every token was, and of so many of the likeliest besides it: of 0 to 100. The logits come back from
   * the device for it, which costs time.
   */
  readonly logprobs?: number;
  /** Ends the answer with an error of code `cancelled`. */
  readonly signal?: AbortSignal;
}

/** How likely a token was. */
export interface Score {
  /** Natural logarithm of its probability. */
  readonly logprob: number;
  /** Entropy of the whole distribution, in nats. */
  readonly entropy: number;
  /** How many tokens were likelier. */
  readonly rank: number;
}

/** A token of a text that was scored. */
export interface ScoredToken extends Score {
  readonly id: number;
}

/** A token that could have been, and the natural logarithm of its probability. */
export interface Candidate {
  readonly id: number;
  readonly logprob: number;
}

/** A text to go on with, a conversation for the model's chat template, or token ids. */
export type Prompt = string | readonly Message[] | Uint32Array | readonly number[];

/** A token of an answer, and the text that is complete with it: often none, as characters may need several tokens. */
export interface Token {
  readonly id: number;
  readonly text: string;
  /** How likely it was, if `logprobs` asked for it. */
  readonly score?: Score & { readonly likeliest: readonly Candidate[] };
}

/** Why an answer ended: the model said so, or there was no room for more. */
export type End = "stop" | "length";

/**
 * Loads a model; its weights stream to the device and are never in memory as a whole, but where they stay.
 *
 * @throws {FoveateError}
 */
export async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const { device = "auto", baseline = false, cache = true, hub = "https://huggingface.co", onProgress, signal } = options;
  throwIfAborted(signal);
  const sent = await sendable(source, hub, signal);
  const engine = spawnEngine(options.worker);
  try {
    const info = await engine.call("load", [sent, device, baseline, cache], { onProgress, signal });
    return new Model(engine, info, options.onDeviceLost);
  } catch (error) {
    engine.close();
    throw error;
  }
}

/** A loaded model. */
export class Model {
  readonly #engine: Engine;
  readonly #onDeviceLost: (() => void) | undefined;
  /** The family, as the model's files name it. */
  readonly architecture: string;
  /** Tokens that the model was made for. */
  readonly context: number;
  readonly vocabSize: number;
  /** Without a tokenizer, prompts are token ids and answers have no text. */
  readonly hasTokenizer: boolean;
  /** Without a template, prompts are texts. */
  readonly hasTemplate: boolean;
  /** One line that names executor and device. */
  readonly device: string;

  /** @internal */
  constructor(engine: Engine, info: Info, onDeviceLost?: () => void) {
    this.#engine = engine;
    this.#onDeviceLost = onDeviceLost;
    this.architecture = info.architecture;
    this.context = info.context;
    this.vocabSize = info.vocabSize;
    this.hasTokenizer = info.hasTokenizer;
    this.hasTemplate = info.hasTemplate;
    this.device = info.device;
  }

  /**
   * The answer to a prompt, in pieces of whole characters.
   *
   * @throws {FoveateError}
   */
  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<string, End, void> {
    const { step, end } = await this.#begin(prompt, options);
    try {
      for (;;) {
        const { text, end } = await step();
        if (text) yield text;
        if (end) return end;
      }
    } finally {
      end();
    }
  }

  /**
   * The same as tokens.
   *
   * @throws {FoveateError}
   */
  async *generateTokens(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<Token, End, void> {
    const { step, end } = await this.#begin(prompt, options);
    try {
      for (;;) {
        const { id, text, end, probabilities } = await step();
        if (id !== undefined) yield probabilities.length > 0 ? { id, text, score: scored(probabilities) } : { id, text };
        if (end) return end;
      }
    } finally {
      end();
    }
  }

  /**
   * The answer to a conversation, in pieces, and the whole message at the end: to be put behind `messages`.
   *
   * @throws {FoveateError}
   */
  async *chat(messages: readonly Message[], options: GenerateOptions = {}): AsyncGenerator<string, Message, void> {
    let content = "";
    for await (const piece of this.generate(messages, options)) {
      content += piece;
      yield piece;
    }
    return { role: "assistant", content };
  }

  /**
   * How likely each token of a text is after those before it; the first has none before it, and is left out.
   *
   * @throws {FoveateError}
   */
  async score(text: Prompt, { signal }: { signal?: AbortSignal } = {}): Promise<ScoredToken[]> {
    throwIfAborted(signal);
    const ids = await this.#ids(text);
    const scoring = await this.#engine.call("score", [ids]);
    const all: ScoredToken[] = [];
    try {
      for (;;) {
        const scores = await this.#engine.call("scores", [scoring]);
        throwIfAborted(signal);
        if (scores.length === 0) return all;
        for (let i = 0; i < scores.length; i += 3) {
          all.push({ id: ids[all.length + 1] as number, ...score(scores.subarray(i)) });
        }
      }
    } finally {
      this.#engine.call("end", [scoring]).catch(() => {});
    }
  }

  /** The ids of a text; with `addSpecial`, within those that the model expects around it. */
  tokenize(text: string, { addSpecial = true } = {}): Promise<Uint32Array> {
    return this.#engine.call("tokenize", [text, addSpecial]);
  }

  /** The text of ids; with `skipSpecial`, without those that are no text. */
  detokenize(ids: Iterable<number>, { skipSpecial = true } = {}): Promise<string> {
    return this.#engine.call("detokenize", [checked(ids), skipSpecial]);
  }

  /** A conversation as the model's template writes it, up to where the assistant's next turn begins. */
  render(messages: readonly Message[], { addGenerationPrompt = true } = {}): Promise<string> {
    return this.#engine.call("render", [messages, addGenerationPrompt]);
  }

  /** What the device has done so far. */
  stats(): Promise<Stats> {
    return this.#engine.call("stats", []);
  }

  /** Frees the model. What is still running fails with an error of code `closed`. */
  close(): void {
    this.#engine.close();
  }

  async #ids(prompt: Prompt): Promise<Uint32Array> {
    if (typeof prompt === "string") return this.tokenize(prompt);
    const [first] = prompt;
    if (typeof first !== "object") return checked(prompt as Iterable<number>);
    const text = await this.render(prompt as readonly Message[]);
    return this.tokenize(text, { addSpecial: false });
  }

  async #begin(prompt: Prompt, { signal, ...options }: GenerateOptions) {
    throwIfAborted(signal);
    const ids = await this.#ids(prompt);
    const answer = await this.#engine.call("begin", [ids, options]);
    let last: Promise<unknown> = Promise.resolve();
    const step = () => {
      const next = this.#engine.call("next", [answer]);
      // A step that was given up ends before the answer does.
      last = next.catch(() => {});
      return abortable(next, signal).then((step) => {
        if (step.recovered) this.#onDeviceLost?.();
        return step;
      });
    };
    const end = () => void last.then(() => this.#engine.call("end", [answer])).catch(() => {});
    return { step, end };
  }
}

const score = ([logprob = NaN, entropy = NaN, rank = NaN]: Float64Array): Score => ({ logprob, entropy, rank });

function scored(probabilities: Step["probabilities"]): NonNullable<Token["score"]> {
  const likeliest: Candidate[] = [];
  for (let i = 3; i + 1 < probabilities.length; i += 2) {
    likeliest.push({ id: probabilities[i] as number, logprob: probabilities[i + 1] as number });
  }
  return { ...score(probabilities), likeliest };
}

function checked(ids: Iterable<number>): Uint32Array {
  const all = [...ids];
  const wrong = all.find((id) => !Number.isInteger(id) || id < 0 || id > 0xffff_ffff);
  if (wrong !== undefined) throw new FoveateError("config", `a token id must be a whole number, got ${wrong}`);
  return Uint32Array.from(all);
}
