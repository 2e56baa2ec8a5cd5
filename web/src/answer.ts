/** Answers: their options, pieces, tokens, events and results, shared by models, sessions and chats. */

import { type ConstraintOptions, constraintOf } from "./constraint.js";
import { abortable, FoveateError, throwIfAborted } from "./error.js";
import {
  type AnswerPart,
  type Asked,
  type Conversation,
  type Engine,
  inputsOf,
  type Message,
  type Step,
  type TemplateOptions,
  type Timing,
  type ToolCall,
  type Usage,
} from "./methods.js";
import { checkOptions, type OptionNames } from "./options.js";

/**
 * Options of a generated answer. Options of the chat template, `toolChoice` and `reasoningBudget` apply to prompts that are
 * conversations.
 */
export interface GenerateOptions extends TemplateOptions, ConstraintOptions {
  /**
   * Choice of `tools`. With `auto`, the default, the model may call tools. With `strict` it may, and each call follows the
   * tool's schema. With `required` it calls tools and writes nothing else. With a name it calls this tool. With `none` it does
   * not see the tools.
   */
  readonly toolChoice?: "auto" | "strict" | "required" | "none" | { readonly name: string };
  /** Maximum number of tokens of reasoning: behind them, the mark that ends reasoning is written in the model's stead. */
  readonly reasoningBudget?: number;
  /** Maximum number of generated tokens: 256 by default. The end of the model's context also ends an answer. */
  readonly maxTokens?: number;
  /** Sampling temperature. 0, the default, always takes the most likely token. */
  readonly temperature?: number;
  /** Samples from this many most likely tokens. 0, the default, sets no limit. */
  readonly topK?: number;
  /** Samples from the smallest set of most likely tokens whose probabilities add up to `topP`. 1 sets no limit. */
  readonly topP?: number;
  /** Drops tokens less likely than `minP` times the probability of the most likely token. 0 sets no limit. */
  readonly minP?: number;
  /** Divides positive logits of tokens that already occurred, and multiplies negative ones. 1 leaves them as they are. */
  readonly repetitionPenalty?: number;
  /** Seed of the random generator. The same seed, prompt and device give the same answer. */
  readonly seed?: number;
  /** Texts that end the answer. Nothing of them is given out, wherever tokens end. */
  readonly stop?: readonly string[];
  /** Continues behind tokens that end a text. */
  readonly ignoreEos?: boolean;
  /** Minimum number of generated tokens. The answer does not end before. */
  readonly minTokens?: number;
  /** Numbers to add to the logits of tokens, by token id. `-Infinity` excludes a token. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Keeps the surprise of the text at `tau` bits a token (5), with the learning rate `eta` (0.1). Replaces other filters. */
  readonly mirostat?: { readonly version: 1 | 2; readonly tau?: number; readonly eta?: number };
  /**
   * Other samplers by name, such as `{ typical: 0.9, noRepeatNgram: 3, ban: ["foo"] }`; docs/decoding.md lists them. They
   * run on the processor: the logits are downloaded from the device at every step.
   */
  readonly samplers?: Readonly<Record<string, number | string | readonly string[]>>;
  /**
   * Drafts tokens that followed an earlier place of the same text, and checks several in one step. The answer stays the
   * same. If the caller leaves the loop early, a session may hold some tokens more than were given out.
   */
  readonly speculate?: "lookup";
  /** Number of this answer among several to one prompt: each draws its own random numbers from the same seed. */
  readonly sequence?: number;
  /**
   * Adds a `score` to every token, with the log-probabilities of this many most likely tokens: 0 to 100. The logits are
   * then downloaded from the device at every step, which costs time.
   */
  readonly logprobs?: number;
  /** Stops the answer: the iterator throws an error of code `cancelled`. */
  readonly signal?: AbortSignal;
}

/** Probability of a token, given all tokens before it. */
export interface Score {
  /** Natural logarithm of the token's probability. */
  readonly logprob: number;
  /** Entropy of the distribution over the vocabulary, in nats. */
  readonly entropy: number;
  /** Number of tokens with a higher probability: 0 for the most likely token. */
  readonly rank: number;
}

/** A token of a scored text. */
export interface ScoredToken extends Score {
  readonly id: number;
}

/** A token id and the natural logarithm of its probability. */
export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
}

/** A text to continue, a conversation for the model's chat template, or token ids. */
export type Prompt = string | readonly Message[] | Uint32Array | readonly number[];

/** A generated token. */
export interface Token {
  readonly id: number;
  /** Characters that this token completes. Often empty, because one character may take several tokens. */
  readonly text: string;
  /** Probability of the token, and the most likely tokens. Present if `logprobs` was given. */
  readonly score?: Score & { readonly topLogprobs: readonly TokenLogprob[] };
}

/**
 * Reason that an answer ended: `stop` for the end of the text, a stop text or a constraint that is met; `length` for
 * `maxTokens` or the end of the context; `tool_calls` for a `stop` behind calls of tools.
 */
export type FinishReason = "stop" | "length" | "tool_calls";

/** A whole answer. */
export interface AnswerResult {
  /** Text of the answer, without reasoning and calls of tools. */
  readonly text: string;
  /** Text that led to the answer; empty for models without reasoning. */
  readonly reasoning: string;
  readonly toolCalls: readonly ToolCall[];
  /** The answer as a message of the assistant, for the next turn. */
  readonly message: Message;
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timing: Timing;
}

/** An event of an answer: a part of it, or, with `logprobs`, a token. */
export type AnswerEvent = AnswerPart | ({ readonly type: "token" } & Token);

/** An answer that is generated while it is read. Leaving a loop over it ends it. */
export interface Answer<T> extends AsyncIterable<T> {
  /** Returns the next item, and {@link AnswerResult} at the end. */
  next(): Promise<IteratorResult<T, AnswerResult>>;
  /** Ends the answer. */
  return(): Promise<IteratorResult<T, AnswerResult | undefined>>;
  /**
   * Generates what is left, and returns the whole answer.
   *
   * @throws {FoveateError} the error that ended the answer; `cancelled` if it was left before its end.
   */
  result(): Promise<AnswerResult>;
}

/** An engine, and the listener for its lost devices. */
export interface Link {
  readonly engine: Engine;
  readonly onDeviceLost: (() => void) | undefined;
  /** Lost devices that `onDeviceLost` was called for. */
  devicesLost: number;
}

/** Returns the token ids of a prompt. `addSpecial` adds the special tokens that the model expects around a text. */
export async function idsOf(
  { engine }: Link,
  prompt: Prompt,
  addSpecial = true,
  options: TemplateOptions = {},
): Promise<Uint32Array> {
  if (typeof prompt === "string") return engine.call("tokenize", [prompt, addSpecial]);
  const messages = conversation(prompt);
  if (!messages) return checked(prompt as Iterable<number>);
  const text = await engine.call("render", [messages, inputsOf(options)]);
  return engine.call("tokenize", [text, false]);
}

/** Returns a prompt's messages, or `undefined` for a text or token ids. */
function conversation(prompt: Prompt): readonly Message[] | undefined {
  if (typeof prompt === "string") return undefined;
  if (typeof prompt !== "object" || !prompt || !(Symbol.iterator in prompt)) {
    throw new FoveateError("config", `a prompt must be a text, messages or token ids, got ${prompt}`);
  }
  const [first] = prompt;
  return typeof first === "object" ? (prompt as readonly Message[]) : undefined;
}

/** Names of all options. Others are errors: they are misspelt. */
const NAMES: OptionNames<GenerateOptions> = {
  ...{ tools: true, documents: true, thinking: true, templateVariables: true, template: true, continueFinalMessage: true },
  ...{ jsonSchema: true, jsonMode: true, regex: true, grammar: true, choices: true, toolChoice: true, reasoningBudget: true },
  ...{ maxTokens: true, temperature: true, topK: true, topP: true, minP: true, repetitionPenalty: true, seed: true },
  ...{ stop: true, ignoreEos: true, minTokens: true, logitBias: true, mirostat: true, samplers: true, speculate: true },
  ...{ sequence: true, logprobs: true, signal: true },
};

/** Returns the options as an engine takes them. */
function asked(options: GenerateOptions): Asked {
  checkOptions("an answer", options, NAMES);
  const { samplers = {}, minTokens, logitBias = {}, mirostat, toolChoice = "auto" } = options;
  const { maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, ignoreEos, speculate } = options;
  const { sequence, logprobs, reasoningBudget } = options;
  if (reasoningBudget !== undefined && !(Number.isInteger(reasoningBudget) && reasoningBudget >= 0)) {
    throw new FoveateError("config", `reasoningBudget must be a whole number, got ${reasoningBudget}`);
  }
  const named = Object.entries(samplers).flatMap(([name, value]) => {
    const values: readonly (number | string)[] = typeof value === "object" ? value : [value];
    return values.map((value) => `${name}=${value}`);
  });
  if (mirostat) {
    const { version, tau = 5, eta = 0.1 } = mirostat;
    named.push(`mirostat=${version}`, `mirostat-tau=${tau}`, `mirostat-eta=${eta}`);
  }
  if (minTokens !== undefined) named.push(`min-tokens=${minTokens}`);
  for (const [id, bias] of Object.entries(logitBias)) named.push(`logit-bias=${id}=${bias}`);
  return {
    ...{ maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, ignoreEos, speculate, sequence, logprobs },
    ...{ samplers: named, constraint: constraintOf(options), reasoningBudget },
    toolChoice: typeof toolChoice === "object" ? `name:${toolChoice.name}` : toolChoice,
  };
}

/** Starts an answer on the engine; returns its handle. */
export type Begin = (options: Asked) => Promise<number>;

/** Returns a function that starts an answer to a prompt. Only answers to conversations are split into parts. */
export function beginning(link: Link, prompt: Prompt, options: GenerateOptions): Begin {
  return async (asked) => {
    const messages = conversation(prompt);
    if (!messages) return link.engine.call("begin", [await idsOf(link, prompt), asked]);
    const { signal } = options;
    const sent: Conversation = { messages, inputs: inputsOf(options), pinned: undefined };
    return (await link.engine.call("converse", [undefined, sent, asked], { signal })).answer;
  };
}

/** Yields the steps of the answer that `begin` starts, until it ends or the caller leaves the loop. */
async function* steps(link: Link, begin: Begin, options: GenerateOptions): AsyncGenerator<Step, void, void> {
  const { signal } = options;
  throwIfAborted(signal);
  const answer = await begin(asked(options));
  let last: Promise<unknown> = Promise.resolve();
  try {
    for (;;) {
      const next = link.engine.call("next", [answer]);
      // An aborted step ends on the device before the answer is freed.
      last = next.catch(() => {});
      const step = await abortable(next, signal);
      if (step.devicesLost > link.devicesLost) link.onDeviceLost?.();
      link.devicesLost = step.devicesLost;
      yield step;
      if (step.end) return;
    }
  } finally {
    last.then(() => link.engine.call("end", [answer])).catch(() => {});
  }
}

/** Yields the items that `view` makes of each step, and returns the result. */
async function* viewed<T>(
  link: Link,
  begin: Begin,
  options: GenerateOptions,
  view: (step: Step) => readonly T[],
  ended: ((result: AnswerResult | undefined) => void) | undefined,
): AsyncGenerator<T, AnswerResult, void> {
  let [text, reasoning] = ["", ""];
  let [begun, result] = [false, undefined as AnswerResult | undefined];
  const beginning: Begin = async (asked) => {
    const answer = await begin(asked);
    begun = true;
    return answer;
  };
  try {
    for await (const step of steps(link, beginning, options)) {
      for (const part of partsOf(step)) {
        if (part.type === "text" || part.type === "broken") text += part.text;
        if (part.type === "reasoning") reasoning += part.text;
      }
      if (step.end && step.ended) {
        const { usage, timing, toolCalls, message = { role: "assistant", content: text } } = step.ended;
        const finishReason = step.end === "stop" && toolCalls.length > 0 ? "tool_calls" : step.end;
        result = { text, reasoning, toolCalls, message, finishReason, usage, timing };
      }
      yield* view(step);
    }
    if (!result) throw new FoveateError("internal", "the answer has no end");
    return result;
  } finally {
    if (begun) ended?.(result);
  }
}

/**
 * Returns an answer that `begin` starts with its first item. `ended` is called once the answer has begun and ended, with its
 * result unless it failed or was left.
 */
export function answering<T>(
  link: Link,
  begin: Begin,
  options: GenerateOptions,
  view: (step: Step) => readonly T[],
  ended?: (result: AnswerResult | undefined) => void,
): Answer<T> {
  const items = viewed(link, begin, options, view, ended);
  let result: AnswerResult | undefined;
  let failed: unknown;
  const next = async () => {
    try {
      const item = await items.next();
      if (item.done) result ??= item.value;
      return item;
    } catch (error) {
      failed ??= error;
      throw error;
    }
  };
  const answer: Answer<T> = {
    next,
    return: () => items.return(undefined as unknown as AnswerResult),
    async result() {
      // An answer that ends without a result was left or has failed.
      while (!result && !(await next()).done);
      if (result) return result;
      throw failed ?? new FoveateError("cancelled", "the answer was left before its end");
    },
    [Symbol.asyncIterator]: () => answer as AsyncIterator<T>,
  };
  return answer;
}

/** Returns the parts of a step. Answers to plain prompts are all text. */
const partsOf = ({ parts, text }: Step): readonly AnswerPart[] => parts ?? (text ? [{ type: "text", text }] : []);

/** Views an answer as pieces of whole characters. */
export function pieces(step: Step): string[] {
  const texts = partsOf(step).map((part) => (part.type === "text" || part.type === "broken" ? part.text : ""));
  return texts.filter((text) => text !== "");
}

/** Views an answer as tokens. */
export function tokens({ id, text, probabilities }: Step): Token[] {
  if (id === undefined) return [];
  return [probabilities.length > 0 ? { id, text, score: scored(probabilities) } : { id, text }];
}

/** Views an answer as events. */
export function events(step: Step): AnswerEvent[] {
  const told = step.probabilities.length > 0 ? tokens(step) : [];
  return [...told.map((token) => ({ type: "token" as const, ...token })), ...partsOf(step)];
}

export const score = ([logprob = NaN, entropy = NaN, rank = NaN]: Float64Array): Score => ({ logprob, entropy, rank });

function scored(probabilities: Step["probabilities"]): NonNullable<Token["score"]> {
  const topLogprobs: TokenLogprob[] = [];
  for (let i = 3; i + 1 < probabilities.length; i += 2) {
    topLogprobs.push({ id: probabilities[i] as number, logprob: probabilities[i + 1] as number });
  }
  return { ...score(probabilities), topLogprobs };
}

/** Returns token ids as an array of u32, or throws `config` if one is not a u32. */
export function checked(ids: Iterable<number>): Uint32Array {
  const all = [...ids];
  const wrong = all.find((id) => !Number.isInteger(id) || id < 0 || id > 0xffff_ffff);
  if (wrong !== undefined) throw new FoveateError("config", `a token id must be a whole number from 0 to 4294967295, got ${wrong}`);
  return Uint32Array.from(all);
}
