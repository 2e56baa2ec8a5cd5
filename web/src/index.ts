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

import {
  checked,
  type End,
  type GenerateOptions,
  idsOf,
  type Link,
  pieces,
  type Prompt,
  type ScoredToken,
  score,
  type Token,
  tokens,
} from "./answer.js";
import { type Abortable, FoveateError, throwIfAborted } from "./error.js";
import {
  type Device as DeviceKind,
  type Fallback,
  type Info,
  inputsOf,
  type Message,
  type OpTime,
  type Part,
  type Phase,
  type Policy,
  type Profile,
  type Progress,
  type Report,
  type Segment,
  type Stats,
  type TemplateOptions,
  type Trial,
} from "./methods.js";
import { Session, type SessionOptions } from "./session.js";
import { type ModelSource, sendable, spawnEngine, type Where } from "./spawn.js";

export type { Candidate, End, GenerateOptions, Prompt, Score, ScoredToken, Token } from "./answer.js";
export { type CachedModel, cache } from "./cache.js";
export type {
  BufferDevice,
  BufferExecutor,
  BufferInput,
  BufferKernel,
  BufferOf,
  BufferTensor,
  OwnBuffer,
  OwnDevice,
} from "./buffers.js";
export * from "./device.js";
export type { DeltaState, Layer, RoutingState } from "./layers.js";
export type { Abortable, FoveateErrorCode } from "./error.js";
export * from "./session.js";
export type { DeviceKind, Fallback, Message, ModelSource, OpTime, Phase, Policy, Profile, Progress, Report, Segment, Stats };
export type { Part, TemplateOptions, Trial, Where };
export { FoveateError };

export interface LoadOptions extends Where {
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
  /**
   * Keep what is downloaded in the browser, and take from there what was kept: the default where the browser can. A
   * second load asks the server for nothing; `cache` lists and forgets.
   */
  readonly cache?: boolean;
  /** Where models of a hub are, `https://huggingface.co` by default. */
  readonly hub?: string;
  /** Use no more of the GPU than WebGPU guarantees everywhere: to see what others will see. */
  readonly baseline?: boolean;
  /**
   * Try the kernels that the model will run on a GPU on small cases, while the weights are on their way; one that gives
   * wrong numbers is replaced by a simpler one, and `report()` says so. By default where the GPU is real: on a driver that
   * plays one in software, compiling takes seconds a kernel.
   */
  readonly selfTest?: boolean;
}

/**
 * Loads a model; its weights stream to the device and are never in memory as a whole, but where they stay.
 *
 * @throws {FoveateError}
 */
export async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const { device = "auto", baseline = false, cache = true, hub = "https://huggingface.co", onProgress, signal } = options;
  throwIfAborted(signal);
  const sent = await sendable(source, hub, signal);
  const engine = spawnEngine(options, device);
  try {
    const info = await engine.call("load", [sent, device, baseline, cache, options.selfTest], { onProgress, signal });
    return new Model({ engine, onDeviceLost: options.onDeviceLost, losses: 0 }, info);
  } catch (error) {
    engine.close();
    throw error;
  }
}

export interface EmbedOptions extends Abortable {
  /** `mean`, the default, is the mean of the tokens' vectors; `last` the last token's; `none` gives all, one behind the other. */
  readonly pooling?: "mean" | "last" | "none";
}

export interface ProfileOptions extends Abortable {
  readonly prompt: Prompt;
  /** Tokens of an answer at most, 16 by default. */
  readonly tokens?: number;
}

export interface Model extends Info {}

/** A loaded model. */
export class Model {
  readonly #link: Link;

  /** @internal */
  constructor(link: Link, info: Info) {
    this.#link = link;
    Object.assign(this, info);
  }

  /**
   * The answer to a prompt, in pieces of whole characters.
   *
   * @throws {FoveateError}
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<string, End, void> {
    return pieces(this.#link, (options) => this.#begin(prompt, options), options);
  }

  /**
   * The same as tokens.
   *
   * @throws {FoveateError}
   */
  generateTokens(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<Token, End, void> {
    return tokens(this.#link, (options) => this.#begin(prompt, options), options);
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
   * An empty session: a text that is kept in the cache while it grows.
   *
   * @throws {FoveateError}
   */
  session(options: SessionOptions = {}): Promise<Session> {
    return Session.open(this.#link, this.context, options);
  }

  /**
   * A session that goes on where one was saved.
   *
   * @throws {FoveateError} if the file is damaged, of another model or kept in another way.
   */
  restore(saved: Blob, options: SessionOptions = {}): Promise<Session> {
    return Session.open(this.#link, this.context, options, saved);
  }

  /**
   * How likely each token of a text is after those before it; the first has none before it, and is left out.
   *
   * @throws {FoveateError}
   */
  async score(text: Prompt, { signal }: Abortable = {}): Promise<ScoredToken[]> {
    const ids = await this.#ids(text, signal);
    const all: ScoredToken[] = [];
    for await (const scores of this.#read(ids, true, signal)) {
      for (let i = 0; i < scores.length; i += 3) {
        all.push({ id: ids[all.length + 1] as number, ...score(scores.subarray(i)) });
      }
    }
    return all;
  }

  /**
   * What the model makes of a text, before it says a word: what its final norm gives, `width` numbers a vector.
   *
   * @throws {FoveateError}
   */
  async embed(text: Prompt, { pooling = "mean", signal }: EmbedOptions = {}): Promise<Float32Array> {
    const ids = await this.#ids(text, signal);
    const { width } = this;
    const all = pooling === "none" ? new Float32Array(ids.length * width) : undefined;
    const pooled = new Float64Array(width);
    let at = 0;
    for await (const vectors of this.#read(ids, false, signal)) {
      all?.set(vectors, at);
      at += vectors.length;
      if (pooling === "mean") vectors.forEach((x, i) => ((pooled[i % width] as number) += x / ids.length));
      else pooled.set(vectors.subarray(vectors.length - width));
    }
    return all ?? Float32Array.from(pooled);
  }

  /** The ids of a text; with `addSpecial`, within those that the model expects around it. */
  tokenize(text: string, { addSpecial = true, signal }: { addSpecial?: boolean } & Abortable = {}): Promise<Uint32Array> {
    return this.#link.engine.call("tokenize", [text, addSpecial], { signal });
  }

  /** The text of ids; with `skipSpecial`, without those that are no text. */
  detokenize(ids: Iterable<number>, { skipSpecial = true, signal }: { skipSpecial?: boolean } & Abortable = {}): Promise<string> {
    return this.#link.engine.call("detokenize", [checked(ids), skipSpecial], { signal });
  }

  /** A conversation as the model's template writes it, up to where the assistant's next turn begins. */
  render(
    messages: readonly Message[],
    { addGenerationPrompt, signal, ...options }: { addGenerationPrompt?: boolean } & TemplateOptions & Abortable = {},
  ): Promise<string> {
    return this.#link.engine.call("render", [messages, inputsOf(options, addGenerationPrompt)], { signal });
  }

  /**
   * Which ops a prompt and its answer spend their time on. Nothing else should run on the model meanwhile, which would be
   * timed along. Browsers give times in steps, of a tenth of a millisecond by default: sums over many runs are right, single
   * runs are not.
   *
   * @throws {FoveateError} of code `device` for a GPU without timestamps.
   */
  async profile({ prompt, tokens = 16, signal }: ProfileOptions): Promise<Profile> {
    if (!Number.isInteger(tokens) || tokens < 1 || tokens > 0xffff_ffff) {
      throw new FoveateError("config", `tokens must be a whole number of at least 1, got ${tokens}`);
    }
    return this.#link.engine.call("profile", [await this.#ids(prompt, signal), tokens], { signal });
  }

  /** What the device has done so far. */
  stats({ signal }: Abortable = {}): Promise<Stats> {
    return this.#link.engine.call("stats", [], { signal });
  }

  /**
   * What the model runs on, whether that computes as it should, and what went wrong so far. It takes a moment: one small
   * case of every op runs on the device and by its definition, unless `check` is `false`.
   *
   * @throws {FoveateError}
   */
  report({ check = true, signal }: { check?: boolean } & Abortable = {}): Promise<Report> {
    return this.#link.engine.call("report", [this.device, check], { signal });
  }

  /** Frees the model and its sessions. What is still running fails with an error of code `closed`. */
  dispose(): void {
    this.#link.engine.close();
  }

  async #ids(text: Prompt, signal: AbortSignal | undefined): Promise<Uint32Array> {
    throwIfAborted(signal);
    return idsOf(this.#link, text);
  }

  async #begin(prompt: Prompt, options: GenerateOptions): Promise<number> {
    return this.#link.engine.call("begin", [await idsOf(this.#link, prompt, true, options), options]);
  }

  /** What is said of given tokens, some at a time. */
  async *#read(ids: Uint32Array, scores: boolean, signal: AbortSignal | undefined): AsyncGenerator<Float64Array> {
    const { engine } = this.#link;
    const reading = await engine.call("read", [ids, scores]);
    try {
      for (;;) {
        const rows = await engine.call("rows", [reading]);
        throwIfAborted(signal);
        if (rows.length === 0) return;
        yield rows;
      }
    } finally {
      engine.call("end", [reading]).catch(() => {});
    }
  }
}
