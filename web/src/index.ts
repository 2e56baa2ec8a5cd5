/**
 * Language models in the browser.
 *
 * ```js
 * import { load } from "foveate";
 *
 * const model = await load("https://example.com/SmolLM2-135M-Instruct.Q4_1.gguf", {
 *   onProgress: ({ loadedBytes, totalBytes }) => console.log(loadedBytes / totalBytes),
 * });
 * const chat = await model.chat();
 * for await (const piece of chat.send("Who was Ada Lovelace?")) document.body.append(piece);
 * ```
 *
 * @module
 */

import {
  type Answer,
  type AnswerEvent,
  answering,
  beginning,
  checked,
  events,
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
import type { RequestOptions } from "./add.js";
import { requestPersistence } from "./cache.js";
import { Chat, type ChatOptions } from "./chat.js";
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
  type Profile,
  type Progress,
  type Report,
  type Segment,
  type SelfTest,
  type SplicePolicy,
  type Stats,
  type TemplateOptions,
} from "./methods.js";
import { checkOptions, type OptionNames } from "./options.js";
import { Session, type SessionOptions } from "./session.js";
import { ENGINE_OPTIONS, type EngineOptions, type ModelSource, sendable, spawnEngine } from "./spawn.js";
import type { Tokenizer, TokenizerOptions } from "./tokenizer.js";

export type { AddOptions, AddProgress, RequestOptions } from "./add.js";
export type { Answer, AnswerEvent, AnswerResult, FinishReason, GenerateOptions, Prompt, Score } from "./answer.js";
export type { ScoredToken, Token, TokenLogprob } from "./answer.js";
export type { ConstraintOptions } from "./constraint.js";
export * from "./chat.js";
export { type CachedModel, cache } from "./cache.js";
export type {
  BufferDevice,
  BufferExecutor,
  BufferInput,
  BufferKernel,
  BufferOf,
  BufferTensor,
  Capable,
  OwnBuffer,
  OwnDevice,
} from "./buffers.js";
export * from "./device.js";
export type { DeltaState, Layer, RoutingState } from "./layers.js";
export type { Abortable, FoveateErrorCode, FoveateErrorReason } from "./error.js";
export * from "./session.js";
export type { DeviceKind, Fallback, Message, ModelSource, OpTime, Part, Phase, Profile, Progress, Report, Segment };
export type { AnswerPart, Pass, Timing, ToolCall, Usage } from "./methods.js";
export type { SelfTest, SplicePolicy, Stats, TemplateOptions };
export type { EngineOptions };
export type { Fetch } from "./request.js";
export type { FileHandle, FolderHandle } from "./spawn.js";
export type { Tokenizer, TokenizerOptions } from "./tokenizer.js";
export { FoveateError };

/** Options of {@link load}. */
export interface LoadOptions extends EngineOptions, RequestOptions {
  /**
   * Device that runs the model.
   *
   * - `auto`, the default, uses WebGPU if there is a hardware GPU, and the CPU otherwise.
   * - `gpu` uses WebGPU, also with a software driver. Without a GPU adapter, `load` throws an error of code `device`.
   * - `cpu` uses the WebAssembly executor.
   * - `reference` runs the definitions of the ops, slowly.
   */
  readonly device?: DeviceKind;
  /**
   * Called after the GPU device was lost and the model has been loaded onto a new device. Weights come from the cache
   * if they are there. Tokens of running answers are read again, and the answers continue with the same tokens.
   */
  readonly onDeviceLost?: () => void;
  /** Called for every loaded piece of the weights and every compiled pipeline. */
  readonly onProgress?: (progress: Progress) => void;
  /** Cancels loading: `load` throws an error of code `cancelled` and frees its memory. */
  readonly signal?: AbortSignal;
  /**
   * Keeps downloaded files in the browser, and reads them from there: `true` by default. A second load downloads nothing;
   * once a day, it compares the files with the server's. The exported `cache` object lists and deletes cached models.
   */
  readonly cache?: boolean;
  /** Restricts the GPU to WebGPU's default limits and no optional features, to test for other devices. */
  readonly baseline?: boolean;
  /**
   * Runs a self-test of the GPU kernels of this model while the weights load. An op that gives wrong numbers falls back to
   * a kernel with fewer device features, and `report()` lists it. Default: `true` on a hardware GPU, `false` on a
   * software driver, where compiling a kernel takes seconds.
   */
  readonly selfTest?: boolean;
}

const OPTIONS: OptionNames<LoadOptions> = {
  ...ENGINE_OPTIONS,
  ...{ device: true, onDeviceLost: true, onProgress: true, signal: true, cache: true, baseline: true, selfTest: true },
  ...{ hub: true, headers: true, fetch: true, timeout: true },
};

const DEVICES: readonly unknown[] = ["auto", "gpu", "cpu", "reference"];

/**
 * Loads a model. Weights stream to the device in pieces. Only executors on the CPU keep all of them in memory.
 *
 * @throws {FoveateError} if a file cannot be read or is damaged, the model is not supported, or the device fails.
 */
export async function load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  checkOptions("load", options, OPTIONS);
  const { device = "auto", baseline = false, cache = true, hub, headers, timeout, fetch, onProgress, signal } = options;
  if (!DEVICES.includes(device)) throw new FoveateError("config", `device must be auto, gpu, cpu or reference, got ${device}`);
  throwIfAborted(signal);
  const sent = await sendable(source, hub, signal);
  if (cache && (typeof sent === "string" || typeof (sent as readonly unknown[])[0] === "string")) requestPersistence();
  const engine = spawnEngine(options, device);
  try {
    const asked = [sent, device, baseline, cache, options.selfTest, { headers, timeout }] as const;
    const info = await engine.call("load", [...asked], { onProgress, signal, fetch });
    return new Model({ engine, onDeviceLost: options.onDeviceLost, devicesLost: 0 }, info);
  } catch (error) {
    engine.close();
    throw error;
  }
}

/**
 * Reads the tokenizer and the chat template of a model, without its weights: the header of a GGUF file, or the small files of
 * a folder or beside a `tokenizer.json`. Runs in the calling thread.
 *
 * @throws {FoveateError} if a file cannot be read or is damaged, or the tokenizer is of a kind that is not supported.
 */
export async function tokenizer(source: ModelSource, options: TokenizerOptions = {}): Promise<Tokenizer> {
  const { open } = await import("./tokenizer.js");
  return open(source, options);
}

/** Options of {@link Model.embed}. */
export interface EmbedOptions extends Abortable {
  /** `mean`, the default, averages the vectors of all tokens. `last` returns the last vector, `none` all of them as they are. */
  readonly pooling?: "mean" | "last" | "none";
  /** Keeps so many elements of a vector, from the first on. Default: all. */
  readonly dimensions?: number;
  /** Divides a vector by its length, so that products of vectors are cosines: `true` by default. */
  readonly normalize?: boolean;
}

/** Options of {@link Model.profile}. */
export interface ProfileOptions extends Abortable {
  readonly prompt: Prompt;
  /** Maximum number of generated tokens: 16 by default. */
  readonly maxTokens?: number;
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
   * Generates an answer to a prompt, as pieces of text of whole characters. Of an answer to a conversation, reasoning and
   * calls of tools are not pieces; the result has them.
   *
   * @throws {FoveateError}
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Answer<string> {
    return answering(this.#link, beginning(this.#link, prompt, options), options, pieces);
  }

  /**
   * Generates an answer to a prompt, as tokens.
   *
   * @throws {FoveateError}
   */
  generateTokens(prompt: Prompt, options: GenerateOptions = {}): Answer<Token> {
    return answering(this.#link, beginning(this.#link, prompt, options), options, tokens);
  }

  /**
   * Generates an answer to a prompt, as events: pieces of the text and of reasoning, calls of tools and their arguments.
   *
   * @throws {FoveateError}
   */
  generateEvents(prompt: Prompt, options: GenerateOptions = {}): Answer<AnswerEvent> {
    return answering(this.#link, beginning(this.#link, prompt, options), options, events);
  }

  /**
   * Opens a chat: a conversation that stays in the KV cache, so that each turn reads only what is new.
   *
   * @throws {FoveateError}
   */
  chat(options: ChatOptions = {}): Promise<Chat> {
    return Chat.open(this.#link, this.context, options);
  }

  /**
   * Opens an empty session. Its text stays in the KV cache while it grows.
   *
   * @throws {FoveateError}
   */
  session(options: SessionOptions = {}): Promise<Session> {
    return Session.open(this.#link, this.context, options);
  }

  /**
   * Opens a session from a file of {@link Session.save}.
   *
   * @throws {FoveateError} of code `format` if the file is damaged, or `mismatch` if it belongs to another model or another
   * `kv` format.
   */
  restore(saved: Blob, options: SessionOptions = {}): Promise<Session> {
    return Session.open(this.#link, this.context, options, saved);
  }

  /**
   * Scores every token of a text but the first, given the tokens before it.
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
   * Embeds a text, or each of several: hidden states after the final norm, pooled, of length 1.
   *
   * @throws {FoveateError}
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  embed(text: Prompt, options?: EmbedOptions): Promise<Float32Array>;
  async embed(given: Prompt | readonly string[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    const { dimensions } = options;
    if (dimensions !== undefined && !(Number.isInteger(dimensions) && dimensions >= 1 && dimensions <= this.width)) {
      throw new FoveateError("config", `dimensions must be a whole number from 1 to ${this.width}, got ${dimensions}`);
    }
    if (!Array.isArray(given) || typeof given[0] !== "string") return this.#embed(given as Prompt, options);
    const vectors: Float32Array[] = [];
    for (const text of given as readonly string[]) vectors.push(await this.#embed(text, options));
    return vectors;
  }

  /** Returns the token ids of a text. `addSpecial` adds the special tokens that the model expects around a text. */
  tokenize(text: string, { addSpecial = true, signal }: { addSpecial?: boolean } & Abortable = {}): Promise<Uint32Array> {
    return this.#link.engine.call("tokenize", [text, addSpecial], { signal });
  }

  /** Returns the text of token ids. `skipSpecial` leaves out special tokens. */
  detokenize(ids: Iterable<number>, { skipSpecial = true, signal }: { skipSpecial?: boolean } & Abortable = {}): Promise<string> {
    return this.#link.engine.call("detokenize", [checked(ids), skipSpecial], { signal });
  }

  /** Renders a conversation with the chat template. `addGenerationPrompt` appends the start of the assistant's message. */
  render(
    messages: readonly Message[],
    { addGenerationPrompt, signal, ...options }: { addGenerationPrompt?: boolean } & TemplateOptions & Abortable = {},
  ): Promise<string> {
    return this.#link.engine.call("render", [messages, inputsOf(options, addGenerationPrompt)], { signal });
  }

  /**
   * Measures the time of each op of a prompt and its answer. Run nothing else on the model meanwhile: its time would be
   * counted, too. Browsers round times, to 0.1 ms by default, so sums over many runs are accurate and single runs are not.
   *
   * @throws {FoveateError} of code `device` if the GPU has no timestamps.
   */
  async profile({ prompt, maxTokens = 16, signal }: ProfileOptions): Promise<Profile> {
    if (!Number.isInteger(maxTokens) || maxTokens < 1 || maxTokens > 0xffff_ffff) {
      throw new FoveateError("config", `maxTokens must be a whole number of at least 1, got ${maxTokens}`);
    }
    return this.#link.engine.call("profile", [await this.#ids(prompt, signal), maxTokens], { signal });
  }

  /** Returns counters of the device: memory, buffers, submissions, downloads. */
  stats({ signal }: Abortable = {}): Promise<Stats> {
    return this.#link.engine.call("stats", [], { signal });
  }

  /**
   * Reports the device, its self-test, lost devices, and one check of each op against its definition. The checks take a
   * moment; `check: false` leaves them out.
   *
   * @throws {FoveateError}
   */
  report({ check = true, signal }: { check?: boolean } & Abortable = {}): Promise<Report> {
    return this.#link.engine.call("report", [this.device, check], { signal });
  }

  /** Frees the model and its sessions. Running calls fail with an error of code `closed`. */
  dispose(): void {
    this.#link.engine.close();
  }

  async #ids(text: Prompt, signal: AbortSignal | undefined): Promise<Uint32Array> {
    throwIfAborted(signal);
    return idsOf(this.#link, text);
  }

  async #embed(text: Prompt, { pooling = "mean", dimensions = this.width, normalize = true, signal }: EmbedOptions): Promise<Float32Array> {
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
    if (all) return all;
    const kept = pooled.subarray(0, dimensions);
    const length = normalize ? Math.hypot(...kept) || 1 : 1;
    return Float32Array.from(kept, (x) => x / length);
  }

  /** Reads tokens in batches: scores of each, or their hidden states. */
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
