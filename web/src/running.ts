/** A running answer in the engine's thread: its generation, its parts, and its times. */

import type { Generation, JsOptions } from "../pkg/foveate.js";
import type { AnswerPart, Asked, Ended, Message, Step, ToolCall, Usage } from "./methods.js";
import { type Reading, release } from "./parts.js";

/** One step of the wasm, by names. */
interface Told {
  readonly id: number | undefined;
  readonly text: string;
  readonly end: Step["end"];
  readonly usage: Float64Array | undefined;
}

/** A running answer to token ids, or to a `Sequence` that grows with it. */
export class Running<Sequence> {
  generation: Generation;
  readonly to: Uint32Array | Sequence;
  readonly options: JsOptions;
  /** Token ids so far. */
  readonly generated: number[] = [];
  readonly #reading: Partial<Reading>;
  /** Tokens of the prompt that were cached before it was read for this answer. */
  readonly #cached: number | undefined;
  /** Tokens of reasoning that are left, if they are bounded. */
  #budget: number | undefined;
  /** Milliseconds: when the answer was asked for, and when its first token was there. */
  readonly #began: number;
  #first: number | undefined;

  constructor(
    generate: (options: JsOptions) => Generation,
    to: Uint32Array | Sequence,
    asked: Asked,
    reading: Partial<Reading> = {},
    { began = performance.now(), cached }: { began?: number; cached?: number } = {},
  ) {
    const { exchange, guide } = reading;
    this.options = { ...asked, shown: exchange?.shown, guide };
    this.generation = generate(this.options);
    this.to = to;
    this.#reading = reading;
    this.#cached = cached;
    this.#budget = asked.reasoningBudget;
    this.#began = began;
  }

  /** Takes a step in. `encode` returns the tokens of a text. */
  take(told: Told, encode: (text: string) => Uint32Array): Pick<Step, "parts" | "end" | "ended"> {
    const { id, text, end, usage } = told;
    if (id !== undefined) this.generated.push(id);
    if (id !== undefined || (usage?.[2] ?? 0) > 0) this.#first ??= performance.now();
    const { exchange } = this.#reading;
    if (!exchange) return { end, ended: end && { ...this.#counted(usage), toolCalls: [] } };
    const parts = JSON.parse(exchange.push(text)) as AnswerPart[];
    if (!end) {
      if (id !== undefined && exchange.isReasoning) this.#spend(encode);
      return { parts, end };
    }
    parts.push(...(JSON.parse(exchange.finish()) as AnswerPart[]));
    const message = JSON.parse(exchange.message()) as Message;
    const toolCalls = (JSON.parse(exchange.calls()) as { id: string; name: string; arguments: string }[]).map(parsed);
    return { parts, end, ended: { ...this.#counted(usage), message, toolCalls } };
  }

  /** Counts a token of reasoning. The last one is followed by the mark that ends it. */
  #spend(encode: (text: string) => Uint32Array): void {
    if (this.#budget === undefined || (this.#budget -= 1) > 0) return;
    this.#budget = undefined;
    const end = this.#reading.exchange?.endOfReasoning;
    if (end !== undefined) this.generation.force(encode(end));
  }

  #counted([promptTokens = 0, read = 0, completionTokens = 0]: Float64Array = new Float64Array()): Pick<Ended, "usage" | "timing"> {
    const usage: Usage = { promptTokens, cachedTokens: this.#cached ?? read, completionTokens };
    const seconds = (performance.now() - this.#began) / 1e3;
    const first = this.#first === undefined ? undefined : (this.#first - this.#began) / 1e3;
    const rate = (tokens: number, seconds: number | undefined) => (tokens > 0 && seconds ? tokens / seconds : undefined);
    const timing = {
      firstTokenSeconds: first,
      seconds,
      promptTokensPerSecond: rate(promptTokens - usage.cachedTokens, first),
      tokensPerSecond: rate(completionTokens - 1, first === undefined ? undefined : seconds - first),
    };
    return { usage, timing };
  }

  free(): void {
    release(this.generation);
    release(this.#reading.guide);
    release(this.#reading.exchange);
  }
}

/** Returns a call with its arguments as a value, as its message has them. */
function parsed({ id, name, arguments: text }: { id: string; name: string; arguments: string }): ToolCall {
  try {
    return { id, name, arguments: JSON.parse(text) };
  } catch {
    return { id, name, arguments: text };
  }
}
