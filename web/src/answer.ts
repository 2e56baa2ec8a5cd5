/** Answers, of a model and of a session alike. */

import { abortable, FoveateError, throwIfAborted } from "./error.js";
import { type Engine, inputsOf, type Message, type Step, type TemplateOptions } from "./methods.js";

/** How an answer is made; what a template gets counts for prompts that are conversations. */
export interface GenerateOptions extends TemplateOptions {
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

/** A model's engine, and who hears of its losses. */
export interface Link {
  readonly engine: Engine;
  readonly onDeviceLost: (() => void) | undefined;
  /** Losses that were told of. */
  losses: number;
}

/** The ids of a prompt. */
export async function idsOf(
  { engine }: Link,
  prompt: Prompt,
  addSpecial = true,
  options: TemplateOptions = {},
): Promise<Uint32Array> {
  if (typeof prompt === "string") return engine.call("tokenize", [prompt, addSpecial]);
  if (typeof prompt !== "object" || !prompt || !(Symbol.iterator in prompt)) {
    throw new FoveateError("config", `a prompt is a text, messages or token ids, got ${prompt}`);
  }
  const [first] = prompt;
  if (typeof first !== "object") return checked(prompt as Iterable<number>);
  const text = await engine.call("render", [prompt as readonly Message[], inputsOf(options)]);
  return engine.call("tokenize", [text, false]);
}

/** The steps of an answer that `begin` begins, until the end or until nobody wants more. */
async function* steps(
  link: Link,
  begin: (options: Omit<GenerateOptions, "signal">) => Promise<number>,
  { signal, ...options }: GenerateOptions,
): AsyncGenerator<Step, End, void> {
  throwIfAborted(signal);
  const answer = await begin(options);
  let last: Promise<unknown> = Promise.resolve();
  try {
    for (;;) {
      const next = link.engine.call("next", [answer]);
      // A step that was given up ends before the answer does.
      last = next.catch(() => {});
      const step = await abortable(next, signal);
      if (step.losses > link.losses) link.onDeviceLost?.();
      link.losses = step.losses;
      yield step;
      if (step.end) return step.end;
    }
  } finally {
    last.then(() => link.engine.call("end", [answer])).catch(() => {});
  }
}

type Begin = Parameters<typeof steps>[1];

export async function* pieces(link: Link, begin: Begin, options: GenerateOptions): AsyncGenerator<string, End, void> {
  for await (const { text, end } of steps(link, begin, options)) {
    if (text) yield text;
    if (end) return end;
  }
  return "stop";
}

export async function* tokens(link: Link, begin: Begin, options: GenerateOptions): AsyncGenerator<Token, End, void> {
  for await (const { id, text, end, probabilities } of steps(link, begin, options)) {
    if (id !== undefined) yield probabilities.length > 0 ? { id, text, score: scored(probabilities) } : { id, text };
    if (end) return end;
  }
  return "stop";
}

export const score = ([logprob = NaN, entropy = NaN, rank = NaN]: Float64Array): Score => ({ logprob, entropy, rank });

function scored(probabilities: Step["probabilities"]): NonNullable<Token["score"]> {
  const likeliest: Candidate[] = [];
  for (let i = 3; i + 1 < probabilities.length; i += 2) {
    likeliest.push({ id: probabilities[i] as number, logprob: probabilities[i + 1] as number });
  }
  return { ...score(probabilities), likeliest };
}

export function checked(ids: Iterable<number>): Uint32Array {
  const all = [...ids];
  const wrong = all.find((id) => !Number.isInteger(id) || id < 0 || id > 0xffff_ffff);
  if (wrong !== undefined) throw new FoveateError("config", `a token id must be a whole number, got ${wrong}`);
  return Uint32Array.from(all);
}
