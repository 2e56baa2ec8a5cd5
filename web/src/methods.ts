/** Messages between a model or device and its engine. Every argument and result can be sent to a worker. */

import type { JsOptions } from "../pkg/foveate.js";
import type { DeltaState, Layer, RoutingState } from "./layers.js";
import type { Fetch } from "./request.js";
import type { OpenSource } from "./source.js";

/** Kind of device. */
export type Device = "auto" | "gpu" | "cpu" | "reference";

/** An argument of an op. Arguments with access `write` or `both` are outputs. */
export interface Argument {
  readonly name: string;
  /** Element type, such as `f32`, or a block format, such as `q8_0`. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Size of the tensor in bytes. */
  readonly bytes: number;
  readonly access: "read" | "write" | "both";
}

/** The dispatches of an op, as data. */
export interface Plan {
  readonly args: readonly Argument[];
  readonly passes: readonly Pass[];
  /** Size of each scratch buffer, in bytes. */
  readonly scratch: readonly number[];
}

/** One dispatch. */
export interface Pass {
  readonly name: string;
  /** WGSL source; the entry point is `main`. */
  readonly code: string;
  /** Storage buffers of bind group 0, in order. Each binds an argument or a scratch buffer, from byte `offset` on. */
  readonly bindings: readonly {
    readonly arg?: number;
    readonly scratch?: number;
    readonly writes: boolean;
    readonly offset: number;
    readonly bytes: number;
  }[];
  /**
   * Words of the uniform buffer, binding 0 of bind group 1. A pair stands for the distance from the start of the binding to
   * the start of the argument, in units of `unit` bytes.
   */
  readonly params: readonly (number | readonly [arg: number, unit: number])[];
  readonly workgroups: readonly [number, number, number];
}

/** Result of checking one expected tensor. */
export interface Finding {
  /** Name of the expected tensor, or of the case. */
  readonly name: string;
  readonly passed: boolean;
  /** Largest error, or the difference. */
  readonly detail: string;
}

/** Progress of {@link load}. */
export interface Progress {
  /** Bytes of weights on the device. */
  readonly loadedBytes: number;
  /** Bytes of all weights of the model. */
  readonly totalBytes: number;
  /** GPU pipelines that are compiled. */
  readonly compiledPipelines: number;
  /** GPU pipelines to compile before the first answer; 0 on other devices. */
  readonly totalPipelines: number;
  /** Bytes downloaded over the network: 0 if every file was in the cache. */
  readonly fetchedBytes: number;
  /** Size of the WebAssembly memory in bytes. Weights on a GPU are not part of it. */
  readonly wasmBytes: number;
}

/** An op that failed the self-test on this GPU, and runs with fewer device features instead. */
export interface Fallback {
  readonly op: string;
  /** Features that the op does not use: `subgroups`, `shader-f16`, both, or also limits above WebGPU's defaults. */
  readonly disabled: string;
  /** Kernel and case that failed, and the error. */
  readonly detail: string;
}

/** Result of the self-test of a GPU: the model's kernels, compared with the definitions on small cases. */
export interface SelfTest {
  /** Names of the cases that ran. */
  readonly cases: readonly string[];
  /** Names of the kernels that no small case covers. */
  readonly untestedKernels: readonly string[];
  /** Ops that fell back to kernels with fewer device features. */
  readonly fallbacks: readonly Fallback[];
}

/** The device of a model, and the results of its checks. */
export interface Report {
  /** Executor and device, in one line. */
  readonly device: string;
  /** Reason that `auto` did not use a GPU: there is none, or it computes wrongly. `undefined` if none was tried. */
  readonly fallbackReason: string | undefined;
  /** Number of GPU devices lost since the model was loaded. */
  readonly devicesLost: number;
  /** Result of the self-test while loading. `undefined` if it did not run. */
  readonly selfTest: SelfTest | undefined;
  /** One small case of each op, compared with its definition. Empty with `check: false`. */
  readonly findings: readonly Finding[];
}

/** Properties of a loaded model. */
export interface Info {
  /** Model family, as named in the model's files. */
  readonly architecture: string;
  /** Context length that the model was trained for, in tokens. */
  readonly context: number;
  /** Size of the vocabulary. */
  readonly vocabSize: number;
  /** Elements of an embedding: the hidden size. */
  readonly width: number;
  /** Kind and sizes of each layer. */
  readonly layers: readonly Layer[];
  /** `false` if the model has no tokenizer: prompts must be token ids, and answers have no text. */
  readonly hasTokenizer: boolean;
  /** `false` if the model has no chat template: prompts must be texts or token ids. */
  readonly hasTemplate: boolean;
  /** Tokens that end an answer, sorted: those that the model's files list, and those whose names are known. */
  readonly endTokens: readonly number[];
  /** Executor and device, in one line. */
  readonly device: string;
}

/** Counters of an executor since the model was loaded. */
export interface Stats {
  /** Bytes of all tensors now. */
  readonly bytes: number;
  /** Largest number of bytes so far. */
  readonly peakBytes: number;
  /** Buffers created so far, those freed included. */
  readonly buffers: number;
  /** Submissions to the device's queue. */
  readonly submissions: number;
  /** Dispatched passes. */
  readonly dispatches: number;
  /** Downloads from the device. */
  readonly downloads: number;
  readonly downloadedBytes: number;
  /** Size of the WebAssembly memory in bytes. It never shrinks. */
  readonly wasmBytes: number;
}

/** A part of a conversation's answer, or a piece of one. */
export type AnswerPart =
  /** Text of the answer. */
  | { readonly type: "text"; readonly text: string }
  /** Text that leads to the answer and is no part of it. */
  | { readonly type: "reasoning"; readonly text: string }
  /** A call of a tool begins, the answer's number `index`. */
  | { readonly type: "tool-call"; readonly index: number; readonly id: string; readonly name: string }
  /** A piece of the call's arguments. All pieces together are a JSON object. */
  | { readonly type: "tool-arguments"; readonly index: number; readonly text: string }
  /** Text of the answer that began as a call and is none. It is empty if it was yielded before. */
  | { readonly type: "broken"; readonly text: string; readonly reason: string };

/** A call of a tool. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** The arguments by their names. A text if what the model wrote is no JSON, which the choice `strict` rules out. */
  readonly arguments: any;
}

/** Numbers of tokens. */
export interface Usage {
  readonly promptTokens: number;
  /** Tokens of the prompt that were in the KV cache and were not read again. */
  readonly cachedTokens: number;
  /** Generated tokens, the one that ended the text included. */
  readonly completionTokens: number;
}

/** Times of an answer, by the clock of the thread that computes. */
export interface Timing {
  /** Seconds to the first token. `undefined` if there is none. */
  readonly firstTokenSeconds: number | undefined;
  /** Seconds in all. */
  readonly seconds: number;
  /** Speed of reading the prompt, without cached tokens. `undefined` if nothing was read. */
  readonly promptTokensPerSecond: number | undefined;
  /** Speed of generation after the first token. `undefined` if there is no second one. */
  readonly tokensPerSecond: number | undefined;
}

/** The end of an answer. */
export interface Ended {
  readonly usage: Usage;
  readonly timing: Timing;
  /** The answer as a message for the template, with reasoning and calls. Only in conversations. */
  readonly message?: Message;
  readonly toolCalls: readonly ToolCall[];
}

/** One step of an answer. */
export interface Step {
  readonly id: number | undefined;
  readonly text: string;
  /** Parts of the answer that are certain with this step. Only in conversations. */
  readonly parts?: readonly AnswerPart[] | undefined;
  readonly end: "stop" | "length" | undefined;
  /** Present with `end`. */
  readonly ended?: Ended | undefined;
  /** Log-probability, entropy, rank, then pairs of ids and log-probabilities. Empty without `logprobs`. */
  readonly probabilities: Float64Array;
  /** Number of GPU devices lost since the model was loaded. */
  readonly devicesLost: number;
}

/** Sizes and format of a session's KV cache. */
export interface SessionSettings {
  readonly context: number;
  readonly pool: number;
  readonly kv: string;
}

/** Contents of a session's KV cache, for a coprocessor. */
export interface View {
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Keys and values of each layer: keys of layer 0, values of layer 0, keys of layer 1, ... */
  readonly layers: readonly Float32Array[];
  /** Elements of a latent: the hidden size. */
  readonly width: number;
}

/** A run of tokens of one kind in a session's KV cache. */
export interface Segment {
  /**
   * `text` for token ids. The other kinds are rows that replace embeddings: `latent` from a coprocessor, `prefix` of a
   * task, `summary` of an evicted text.
   */
  readonly kind: "text" | "latent" | "prefix" | "summary";
  /** Index of the first token in the session. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
  /** Position id of the first token. The others follow consecutively. */
  readonly position: number;
}

/** Total of all runs of one op with one shape. */
export interface OpTime {
  /** Name and sizes of the op. */
  readonly op: string;
  /** Number of runs. */
  readonly runs: number;
  /** Time of all runs, in seconds. */
  readonly seconds: number;
  /** Share of the total time of all ops: 0 to 1. */
  readonly share: number;
  /** Least number of bytes that the runs must read and write. */
  readonly bytes: number;
}

/** Time of each op over a number of tokens, longest first. */
export interface Phase {
  /** Number of tokens read. */
  readonly tokens: number;
  readonly ops: readonly OpTime[];
}

/** Time of each op of a model, see {@link Model.profile}. */
export interface Profile {
  /** `device`: timestamps of the GPU, rounded by the browser. `host`: clock of the thread that computes. */
  readonly clock: "device" | "host";
  /** Reading the prompt, without its last token. */
  readonly prefill: Phase;
  /** Generating the answer. Each step reads one token and samples the next. */
  readonly decode: Phase;
}

/** Place of latents in a session that has grown since they were requested, see {@link AugmentOptions.policy}. */
export type SplicePolicy = "tail" | "snapshot" | "drop";

/** A part of a message: `{ type: "text", text }`, or another part that the template supports. */
export interface Part {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/**
 * One message of a conversation. All other fields, such as `tool_calls`, `tool_call_id`, `name` and `reasoning_content`,
 * are passed to the template unchanged.
 */
export interface Message {
  /** `system`, `user` or `assistant`. Some templates accept others. */
  readonly role: string;
  readonly content?: string | readonly Part[] | null;
  readonly [key: string]: unknown;
}

/** Options of the chat template. */
export interface TemplateOptions {
  /** Functions that the model may call, as JSON schemas. */
  readonly tools?: readonly object[];
  /** Documents for retrieval-augmented generation. */
  readonly documents?: readonly object[];
  /** Turns the reasoning of models on or off whose templates have a switch: the variables `enable_thinking` and `thinking`. */
  readonly thinking?: boolean;
  /** Further variables of the template. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
  /** Name of the template, if the model has several. Default: `tool_use` if there are tools, otherwise `default`. */
  readonly template?: string;
  /** Leaves the last message open, so that the model continues it. */
  readonly continueFinalMessage?: boolean;
}

/** Inputs of the chat template, in the form of `Inputs` in core/src/chat/message.rs. */
export interface TemplateInputs {
  readonly add_generation_prompt: boolean;
  readonly continue_final_message: boolean;
  readonly tools?: readonly object[] | undefined;
  readonly documents?: readonly object[] | undefined;
  readonly template?: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** Returns the template's inputs. With `continueFinalMessage`, no generation prompt is added by default. */
export function inputsOf(options: TemplateOptions, addGenerationPrompt?: boolean): TemplateInputs {
  const { tools, documents, template, thinking, templateVariables, continueFinalMessage = false } = options;
  const switches = thinking === undefined ? {} : { enable_thinking: thinking, thinking };
  return {
    add_generation_prompt: addGenerationPrompt ?? !continueFinalMessage,
    continue_final_message: continueFinalMessage,
    tools: tools && tools.length > 0 ? tools : undefined,
    documents,
    template,
    variables: { ...switches, ...templateVariables },
  };
}

/** Options of an answer as an engine takes them. */
export interface Asked extends Omit<JsOptions, "guide" | "replay" | "shown"> {
  /** Constraint on the answer, JSON as `wasm/parts/src/constraint.rs` reads it. */
  readonly constraint?: string | undefined;
  /** `auto`, `strict`, `none`, `required`, or a name behind `name:`. */
  readonly toolChoice: string;
  readonly reasoningBudget?: number | undefined;
}

/** A conversation to answer. */
export interface Conversation {
  readonly messages: readonly Message[];
  readonly inputs: TemplateInputs;
  /**
   * Drops the oldest turns of a conversation that does not fit a session, behind this many messages. If it is `undefined`,
   * such a conversation is an error.
   */
  readonly pinned: number | undefined;
}

/**
 * Returns a conversation without its oldest turn behind `pinned` messages, from one message of the user to the next;
 * `undefined` if there is one turn.
 */
export function withoutOldestTurn(messages: readonly Message[], pinned: number): readonly Message[] | undefined {
  const told = messages.findIndex(({ role }, i) => i >= pinned && role !== "system" && role !== "developer");
  const next = messages.findIndex(({ role }, i) => i > told && role === "user");
  return told < 0 || next < 0 ? undefined : [...messages.slice(0, told), ...messages.slice(next)];
}

export interface Hooks {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Sends the requests of `load` in place of the engine's own `fetch`. */
  readonly fetch?: Fetch | undefined;
}

/** Options of the requests of `load`. */
export interface Requests {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly timeout?: number | undefined;
}

/** Methods of an engine. Answers, sessions, snapshots, readings and augmentations are referred to by a handle, a number. */
export interface Methods {
  /** Sets the address of the wasm, or of the folder of its builds. */
  locate(wasmUrl: string): void;
  load(source: OpenSource, device: Device, baseline: boolean, cache: boolean, selfTest?: boolean, requests?: Requests): Info;
  tokenize(text: string, addSpecial: boolean): Uint32Array;
  detokenize(ids: Uint32Array, skipSpecial: boolean): string;
  render(messages: readonly Message[], inputs: TemplateInputs): string;
  /** Starts an answer to token ids; returns its handle. */
  begin(ids: Uint32Array, options: Asked): number;
  /**
   * Starts an answer to a conversation, in a session or in one of its own. The session's contents are replaced; only what
   * differs is read. Returns the handle of the answer, and the number of turns that were dropped.
   */
  converse(session: number | undefined, conversation: Conversation, options: Asked): { answer: number; forgotten: number };
  next(answer: number): Step;
  /** Starts reading token ids, for their scores or hidden states; returns a handle. */
  read(ids: Uint32Array, scores: boolean): number;
  /** Returns log-probability, entropy and rank of the next tokens, or their hidden states; empty at the end. */
  rows(reading: number): Float64Array;
  /** Opens a session, empty or from a file; returns its handle. */
  session(settings: SessionSettings, saved?: Blob): number;
  /** Reads tokens into a session; returns its new length. */
  append(session: number, ids: Uint32Array): number;
  /** Replaces the contents of a session; returns how many of the tokens it had read already. */
  rewrite(session: number, ids: Uint32Array): number;
  /** Starts an answer to a session's text; returns its handle. */
  answer(session: number, options: Asked): number;
  tokens(session: number): Uint32Array;
  segments(session: number): Segment[];
  state(session: number, layer: number): DeltaState | RoutingState;
  /** Reads a prompt and generates up to `tokens` tokens, with every op timed. */
  profile(ids: Uint32Array, tokens: number): Profile;
  /** Takes a snapshot of a session; returns its handle and its length. */
  snapshot(session: number): { number: number; length: number };
  /** Forks a session from one of its snapshots; returns the handle of the new session. */
  fork(session: number, snapshot: number): number;
  /** Rolls a session back to a length, or to a snapshot. */
  rollback(session: number, length: number, snapshot?: number): void;
  save(session: number): Blob;
  /** Requests latents; returns the handle of the request and the session's contents. */
  augment(session: number, latents: number): { number: number; view: View };
  /** Splices latents into a session. If they are dropped, returns the reason. */
  splice(session: number, augmentation: number, latents: Float32Array, policy: SplicePolicy): string | undefined;
  /** Frees the object of a handle. */
  end(number: number): void;
  stats(): Stats;
  report(device: string, check: boolean): Report;
  /** Opens an executor for single ops; `plans` opens none and returns plans as data. */
  open(kind: Device | "plans", baseline: boolean, exact: boolean): { name: string; ops: string[] };
  arguments(op: string, settings: string, shapes: string): Argument[];
  /** Plans an op for a device with these capabilities. */
  plan(op: string, settings: string, shapes: string, caps: string): Plan;
  inputs(op: string, settings: string, seed: number): Uint8Array[];
  run(op: string, settings: string, shapes: string, inputs: readonly Uint8Array[]): Uint8Array[];
  check(source: string | Blob, kind: Device, baseline: boolean): Finding[];
  cases(): string[];
  checkCase(name: string): Finding[];
}

export type Method = keyof Methods;

/** Runs methods, in this thread or in a worker. */
export interface Engine {
  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks?: Hooks): Promise<ReturnType<Methods[M]>>;
  /** Frees the model or device. Running calls fail with an error of code `closed`. */
  close(): void;
}
