/** A running answer in the engine's thread: its generation, its parts, and its times. */

import type { Generation, JsOptions } from "../pkg/foveate.js";
import type { AnswerPart, Asked, Ended, Message, Step, ToolCall, Usage } from "./methods.js";
import { type AnswerObjects, release } from "./parts.js";
import type { Sequence } from "./sequence.js";

/** A step of an answer, as `Generation::next` in wasm/src/generation.rs returns it. */
type WasmStep = [id: number | undefined, text: string, end: Step["end"], probabilities: Float64Array, usage: Float64Array | undefined];

/** A running answer to token ids, or to a session that grows with it. */
export class Running {
  generation: Generation;
  readonly to: Uint32Array | Sequence;
  readonly options: JsOptions;
  /** Token ids so far. */
  readonly generated: number[] = [];
  readonly #objects: Partial<AnswerObjects>;
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
    objects: Partial<AnswerObjects> = {},
    { began = performance.now(), cached }: { began?: number; cached?: number } = {},
  ) {
    const { exchange, guide } = objects;
    this.options = { ...asked, shown: exchange?.shown, guide };
    this.generation = generate(this.options);
    this.to = to;
    this.#objects = objects;
    this.#cached = cached;
    this.#budget = asked.reasoningBudget;
    this.#began = began;
  }

  /** Generates the next step. `encode` returns the tokens of a text. */
  async next(encode: (text: string) => Uint32Array): Promise<Omit<Step, "devicesLost">> {
    const [id, text, end, probabilities, usage] = (await this.generation.next()) as WasmStep;
    if (id !== undefined) {
      if (!(this.to instanceof Uint32Array)) this.to.ids?.push(id);
      this.generated.push(id);
    }
    if (id !== undefined || (usage?.[2] ?? 0) > 0) this.#first ??= performance.now();
    const step = { id, text, end, probabilities };
    const { exchange } = this.#objects;
    if (!exchange) return { ...step, ended: end && { ...this.#counted(usage), toolCalls: [] } };
    const parts = JSON.parse(exchange.push(text)) as AnswerPart[];
    if (!end) {
      if (id !== undefined && exchange.isReasoning) this.#spend(encode);
      return { ...step, parts };
    }
    parts.push(...(JSON.parse(exchange.finish()) as AnswerPart[]));
    const message = JSON.parse(exchange.message()) as Message;
    const toolCalls = (JSON.parse(exchange.calls()) as { id: string; name: string; arguments: string }[]).map(parsed);
    return { ...step, parts, ended: { ...this.#counted(usage), message, toolCalls } };
  }

  /** Counts a token of reasoning. The last one is followed by the mark that ends it. */
  #spend(encode: (text: string) => Uint32Array): void {
    if (this.#budget === undefined || (this.#budget -= 1) > 0) return;
    this.#budget = undefined;
    const end = this.#objects.exchange?.endOfReasoning;
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
    release(this.#objects.guide);
    release(this.#objects.exchange);
  }
}

/** Returns a call with its arguments as a value, or as a text if they are not JSON. */
function parsed({ id, name, arguments: text }: { id: string; name: string; arguments: string }): ToolCall {
  try {
    return { id, name, arguments: JSON.parse(text) };
  } catch {
    return { id, name, arguments: text };
  }
}
