/** What an engine is asked, and what it says. Everything that goes in and out can be sent between threads. */

import type { JsOptions } from "../pkg/foveate.js";
import type { DeltaState, Layer, RoutingState } from "./layers.js";
import type { OpenSource } from "./source.js";

export type Device = "auto" | "gpu" | "cpu" | "reference";

/** An argument of an op: rows of `shape`, of which one that is written is the caller's to read. */
export interface Argument {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly access: "read" | "write" | "both";
}

/** The passes of an op, for whoever has a device. */
export interface Plan {
  readonly args: readonly Argument[];
  readonly passes: readonly Pass[];
  /** Bytes of each scratch buffer. */
  readonly scratch: readonly number[];
}

/** One dispatch. */
export interface Pass {
  readonly name: string;
  /** WGSL with the entry point `main`. */
  readonly code: string;
  /** Storage buffers of group 0 in their order: of an argument, or of scratch; `offset` bytes in front are skipped. */
  readonly bindings: readonly {
    readonly arg?: number;
    readonly scratch?: number;
    readonly writes: boolean;
    readonly offset: number;
    readonly bytes: number;
  }[];
  /** Words of the uniform buffer at binding 0 of group 1; a pair is where an argument begins in its binding, in units. */
  readonly params: readonly (number | readonly [arg: number, unit: number])[];
  readonly workgroups: readonly [number, number, number];
}

/** What a check of one expectation found. */
export interface Finding {
  readonly name: string;
  readonly passed: boolean;
  /** The largest error, or what differs. */
  readonly detail: string;
}

/** How far loading has come. */
export interface Progress {
  /** Bytes of weights that are on the device, and all of them. */
  readonly bytes: number;
  readonly of: number;
  /** Pipelines that the GPU's driver has compiled, and all of them: while the weights are on their way. */
  readonly compiled: number;
  readonly pipelines: number;
  /** Bytes that came over the network: none where all was in the cache. */
  readonly fetched: number;
  /** Bytes of the wasm memory: weights on a GPU are not in it. */
  readonly wasmBytes: number;
}

/** An op that does without something of a GPU, since it came out wrong with it in the start-up self-test. */
export interface Fallback {
  readonly op: string;
  /** `subgroups`, `shader-f16`, both, or more than that. */
  readonly without: string;
  /** The case that was wrong, and how far. */
  readonly detail: string;
}

/** What the start-up self-test of a GPU found: the forms of kernels that the model runs, against their definitions. */
export interface Trial {
  /** Cases that ran. */
  readonly tried: readonly string[];
  /** Kernels that no small case reaches. */
  readonly untried: readonly string[];
  readonly fallbacks: readonly Fallback[];
}

/** What a model runs on, and whether that computes as it should. */
export interface Report {
  /** One line that names executor and device. */
  readonly device: string;
  /** Why no GPU was taken, where one was looked for: it is missing, or computes wrongly. */
  readonly passedOver: string | undefined;
  /** Devices that were lost so far. */
  readonly losses: number;
  /** What was tried when the model was loaded onto a GPU. */
  readonly trial: Trial | undefined;
  /** Of the form of every op that this device takes, on a small case, whether it gives what its definition gives; if asked. */
  readonly findings: readonly Finding[];
}

/** What a loaded model says of itself. */
export interface Info {
  /** The family, as the model's files name it. */
  readonly architecture: string;
  /** Tokens that the model was made for. */
  readonly context: number;
  readonly vocabSize: number;
  /** Elements of an embedding. */
  readonly width: number;
  /** How each layer mixes tokens. */
  readonly layers: readonly Layer[];
  /** Without a tokenizer, prompts are token ids and answers have no text. */
  readonly hasTokenizer: boolean;
  /** Without a template, prompts are texts. */
  readonly hasTemplate: boolean;
  /** One line that names executor and device. */
  readonly device: string;
}

/** What an executor has done since the model was loaded. */
export interface Stats {
  /** Memory of tensors now, and the most that ever was. */
  readonly bytes: number;
  readonly peakBytes: number;
  /** Buffers ever created. */
  readonly buffers: number;
  readonly submissions: number;
  readonly dispatches: number;
  /** Transfers from the device, and their bytes. */
  readonly downloads: number;
  readonly downloadedBytes: number;
  /** Bytes of the wasm memory, which never shrinks. */
  readonly wasmBytes: number;
}

export interface Step {
  readonly id: number | undefined;
  readonly text: string;
  readonly end: "stop" | "length" | undefined;
  /** Log-probability, entropy, rank, then pairs of likely tokens and their log-probabilities; empty if not asked for. */
  readonly probabilities: Float64Array;
  /** Devices that the model has lost so far; it is on another one then. */
  readonly losses: number;
}

/** How a session keeps what it reads. */
export interface SessionSettings {
  readonly context: number;
  readonly pool: number;
  readonly kv: string;
}

/** What a session has read, for who makes latents. */
export interface View {
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Keys and values in turn, layer by layer. */
  readonly layers: readonly Float32Array[];
  /** Elements of a latent. */
  readonly width: number;
}

/** Consecutive tokens of one kind in a session's cache. */
export interface Segment {
  /** Tokens of the vocabulary, or rows in the place of embeddings: of a coprocessor, of a task, of a text that is gone. */
  readonly kind: "text" | "latent" | "prefix" | "summary";
  /** Where it begins among the session's tokens. */
  readonly start: number;
  readonly length: number;
  /** The position of its first token; the others follow one by one. */
  readonly position: number;
}

/** All runs of the ops of one kind and shape. */
export interface OpTime {
  readonly op: string;
  readonly runs: number;
  readonly seconds: number;
  /** The part of the time of all ops. */
  readonly share: number;
  /** The fewest bytes that they can have moved. */
  readonly bytes: number;
}

/** Ops of some tokens, the longest first. */
export interface Phase {
  readonly tokens: number;
  readonly ops: readonly OpTime[];
}

/** What a model spends its time on. */
export interface Profile {
  /** `device` for a GPU's own timestamps, which browsers round; `host` for the clock of the thread that computes. */
  readonly clock: "device" | "host";
  /** Reading the prompt but for its last token. */
  readonly prompt: Phase;
  /** The steps of the answer: each reads a token and chooses the next. */
  readonly answer: Phase;
}

/** Where latents go if the session went on. */
export type Policy = "tail" | "snapshot" | "drop";

/** A part of a message: `{ type: "text", text }`, or what else the model's template knows. */
export interface Part {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/**
 * One turn of a conversation. Whatever else a message has, such as `tool_calls`, `tool_call_id`, `name` and
 * `reasoning_content`, reaches the model's template as it is.
 */
export interface Message {
  /** `system`, `user` or `assistant`; templates may know others. */
  readonly role: string;
  readonly content?: string | readonly Part[] | null;
  readonly [key: string]: unknown;
}

/** What a chat template gets besides the messages. */
export interface TemplateOptions {
  /** Functions that the model may call, as JSON schemas. */
  readonly tools?: readonly object[];
  /** Texts that the model may draw on. */
  readonly documents?: readonly object[];
  /** Variables that the template knows, such as `enable_thinking`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
  /** The name of one of several templates: by default `tool_use` if there are tools, and `default` otherwise. */
  readonly template?: string;
  /** End inside of the last message, for the model to go on with it. */
  readonly continueFinalMessage?: boolean;
}

/** The same with where it ends, as `Inputs` in core/src/chat/message.rs has it. */
export interface TemplateInputs {
  readonly add_generation_prompt: boolean;
  readonly continue_final_message: boolean;
  readonly tools?: readonly object[] | undefined;
  readonly documents?: readonly object[] | undefined;
  readonly template?: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** The inputs that options ask for. A message that is to be continued begins no other one. */
export function inputsOf(options: TemplateOptions, addGenerationPrompt?: boolean): TemplateInputs {
  const { tools, documents, template, templateVariables = {}, continueFinalMessage = false } = options;
  return {
    add_generation_prompt: addGenerationPrompt ?? !continueFinalMessage,
    continue_final_message: continueFinalMessage,
    tools,
    documents,
    template,
    variables: templateVariables,
  };
}

export interface Hooks {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a model does, in whichever thread. */
export interface Methods {
  load(source: OpenSource, device: Device, baseline: boolean, cache: boolean, selfTest?: boolean): Info;
  tokenize(text: string, addSpecial: boolean): Uint32Array;
  detokenize(ids: Uint32Array, skipSpecial: boolean): string;
  render(messages: readonly Message[], inputs: TemplateInputs): string;
  /** Begins an answer and gives its number. */
  begin(ids: Uint32Array, options: JsOptions): number;
  next(answer: number): Step;
  /** Begins to read tokens, for their scores or the vectors behind them, and gives its number. */
  read(ids: Uint32Array, scores: boolean): number;
  /** Log-probability, entropy and rank of each of some tokens, or their vectors; none at the end. */
  rows(reading: number): Float64Array;
  /** Begins an empty session, or one from a file, and gives its number. */
  session(settings: SessionSettings, saved?: Blob): number;
  /** Reads tokens, and gives the session's length then. */
  append(session: number, ids: Uint32Array): number;
  /** Begins an answer to what a session holds and gives its number. */
  answer(session: number, options: JsOptions): number;
  tokens(session: number): Uint32Array;
  segments(session: number): Segment[];
  state(session: number, layer: number): DeltaState | RoutingState;
  /** Reads tokens and goes on for at most so many, with every op timed. */
  profile(ids: Uint32Array, tokens: number): Profile;
  /** Keeps a session as it is, and gives its number and length. */
  snapshot(session: number): { number: number; length: number };
  /** A session that goes on from a snapshot of this one. */
  fork(session: number, snapshot: number): number;
  /** Back to a length, or to a snapshot. */
  rollback(session: number, length: number, snapshot?: number): void;
  save(session: number): Blob;
  /** Asks for latents, and gives the number under which they are awaited. */
  augment(session: number, latents: number): { number: number; view: View };
  /** Takes them in; why not, if they were dropped. */
  splice(session: number, augmentation: number, latents: Float32Array, policy: Policy): string | undefined;
  /** Frees whatever has this number. */
  end(number: number): void;
  stats(): Stats;
  report(device: string, check: boolean): Report;
  /** Opens an executor for single ops. */
  open(kind: Device | "plans", baseline: boolean, exact: boolean): { name: string; ops: string[] };
  arguments(op: string, settings: string, shapes: string): Argument[];
  /** The passes of an op on a device with these caps. */
  plan(op: string, settings: string, shapes: string, caps: string): Plan;
  inputs(op: string, settings: string, seed: number): Uint8Array[];
  run(op: string, settings: string, shapes: string, inputs: readonly Uint8Array[]): Uint8Array[];
  check(source: string | Blob, kind: Device, baseline: boolean): Finding[];
  cases(): string[];
  checkCase(name: string): Finding[];
}

export type Method = keyof Methods;

/** Calls methods, here or in a worker. */
export interface Engine {
  call<M extends Method>(method: M, args: Parameters<Methods[M]>, hooks?: Hooks): Promise<ReturnType<Methods[M]>>;
  /** Frees the model; calls that have not ended fail. */
  close(): void;
}
