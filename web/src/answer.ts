/** Generation: options, pieces of text, tokens and their probabilities, shared by models and sessions. */

import { abortable, FoveateError, throwIfAborted } from "./error.js";
import { type Engine, inputsOf, type Message, type Step, type TemplateOptions } from "./methods.js";

/** Options of a generated answer. Options of the chat template apply to prompts that are conversations. */
export interface GenerateOptions extends TemplateOptions {
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
  /** Minimum number of tokens: before, the answer does not end. */
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

/** Reason that an answer ended: `stop` for an end token, `length` for `maxTokens` or the end of the context. */
export type FinishReason = "stop" | "length";

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
  if (typeof prompt !== "object" || !prompt || !(Symbol.iterator in prompt)) {
    throw new FoveateError("config", `a prompt must be a text, messages or token ids, got ${prompt}`);
  }
  const [first] = prompt;
  if (typeof first !== "object") return checked(prompt as Iterable<number>);
  const text = await engine.call("render", [prompt as readonly Message[], inputsOf(options)]);
  return engine.call("tokenize", [text, false]);
}

/** Options as an engine takes them. */
export type Asked = Omit<GenerateOptions, "signal" | "samplers" | "minTokens" | "logitBias" | "mirostat"> & {
  readonly samplers: readonly string[];
};

/** Returns the options with all samplers as `name=value`. */
function asked({ samplers = {}, minTokens, logitBias = {}, mirostat, ...options }: Omit<GenerateOptions, "signal">): Asked {
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
  return { ...options, samplers: named };
}

/** Yields the steps of the answer that `begin` starts, until it ends or the caller leaves the loop. */
async function* steps(
  link: Link,
  begin: (options: Asked) => Promise<number>,
  { signal, ...options }: GenerateOptions,
): AsyncGenerator<Step, FinishReason, void> {
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
      if (step.end) return step.end;
    }
  } finally {
    last.then(() => link.engine.call("end", [answer])).catch(() => {});
  }
}

type Begin = Parameters<typeof steps>[1];

/** Yields an answer as pieces of whole characters. */
export async function* pieces(link: Link, begin: Begin, options: GenerateOptions): AsyncGenerator<string, FinishReason, void> {
  for await (const { text, end } of steps(link, begin, options)) {
    if (text) yield text;
    if (end) return end;
  }
  return "stop";
}

/** Yields an answer as tokens. */
export async function* tokens(link: Link, begin: Begin, options: GenerateOptions): AsyncGenerator<Token, FinishReason, void> {
  for await (const { id, text, end, probabilities } of steps(link, begin, options)) {
    if (id !== undefined) yield probabilities.length > 0 ? { id, text, score: scored(probabilities) } : { id, text };
    if (end) return end;
  }
  return "stop";
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
