/** Answers of one model in OpenAI's form: whole ones, and the chunks of streams. */

import type { AnswerEvent, AnswerResult, Prompt, Token } from "../answer.js";
import type { Model } from "../index.js";
import type { Message } from "../methods.js";
import { Stateless, unique } from "../stateless.js";
import { APIError } from "./error.js";
import { boolean, conversation, integer, type Settings, settings, strings } from "./fields.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatDelta,
  ChatLogprobs,
  ChatParams,
  Completion,
  CompletionParams,
  CompletionUsage,
  EmbeddingParams,
  Embeddings,
  Finish,
  FunctionCall,
  RequestOptions,
  Stream,
  TextLogprobs,
  TokenLogprob,
} from "./types.js";

/** Tokens of a completion where no maximum is given, as OpenAI has it. */
const COMPLETION_TOKENS = 16;

const MOST_LOGPROBS = 20;

/** Returns a logarithm that JSON can express: at least -9999, with four decimal places. */
const rounded = (logprob: number) => Math.round(Math.max(logprob, -9999) * 1e4) / 1e4;

/** Returns the fields that all chunks of an answer have in common. */
const framed = (prefix: string, model: string) => ({
  id: `${prefix}-${unique()}`,
  created: Math.floor(Date.now() / 1000),
  model,
});

/** Tokens of all answers of a request; the prompt counts once for each. */
class Counted {
  #usage = { prompt: 0, completion: 0, cached: 0 };

  add({ usage }: AnswerResult): void {
    this.#usage.prompt += usage.promptTokens;
    this.#usage.completion += usage.completionTokens;
    this.#usage.cached += usage.cachedTokens;
  }

  get usage(): CompletionUsage {
    const { prompt, completion, cached } = this.#usage;
    return {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
      prompt_tokens_details: { cached_tokens: cached },
    };
  }
}

/** Returns the controller of a request, which the caller's signal aborts, too. */
function controlled({ signal }: RequestOptions): AbortController {
  const controller = new AbortController();
  if (signal?.aborted) controller.abort(signal.reason);
  signal?.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  return controller;
}

/**
 * Returns a stream of chunks whose first one is there already, so that errors of the request are thrown before. A stream that
 * is aborted ends, as OpenAI's does.
 */
async function streamed<T>(chunks: AsyncGenerator<T, void, void>, controller: AbortController): Promise<Stream<T>> {
  let first: IteratorResult<T, void> | undefined = await chunks.next();
  const iterator: AsyncIterator<T, void> = {
    async next() {
      const ready = first;
      first = undefined;
      try {
        return ready ?? (await chunks.next());
      } catch (error) {
        if (controller.signal.aborted) return { done: true, value: undefined };
        throw APIError.from(error);
      }
    },
    return: () => chunks.return(),
  };
  return { controller, [Symbol.asyncIterator]: () => iterator };
}

/** A model that a client serves. */
export class Hosted {
  readonly #model: Model;
  readonly #answers: Stateless;
  readonly #spelled = new Map<number, string>();

  constructor(model: Model, context: number | undefined) {
    this.#model = model;
    this.#answers = new Stateless(model, context);
  }

  async chat(params: ChatParams, request: RequestOptions): Promise<ChatCompletion | Stream<ChatCompletionChunk>> {
    const fields = { ...params };
    const top = integer(fields, "top_logprobs", 0, MOST_LOGPROBS);
    const wanted = boolean(fields, "logprobs");
    if (top && !wanted) throw APIError.field("top_logprobs", "top_logprobs needs logprobs to be true");
    const asked = settings(fields, this.#model.context, this.#model.vocabSize, wanted ? (top ?? 0) : undefined);
    const { messages, options } = conversation(fields);
    const controller = controlled(request);
    const all = { ...asked, options: { ...asked.options, ...options, signal: controller.signal } };
    const frame = framed("chatcmpl", params.model);
    if (asked.stream) return streamed(this.#chunks(messages, all, frame), controller);
    return this.#whole(messages, all, frame);
  }

  async complete(params: CompletionParams, request: RequestOptions): Promise<Completion | Stream<Completion>> {
    const fields: Record<string, unknown> = { ...params };
    const logprobs = integer(fields, "logprobs", 0, MOST_LOGPROBS);
    const asked = settings(fields, COMPLETION_TOKENS, this.#model.vocabSize, logprobs);
    if (Array.isArray(fields["tools"]) && fields["tools"].length > 0) throw APIError.field("tools", "tools are for chats");
    const controller = controlled(request);
    const all = { ...asked, options: { ...asked.options, signal: controller.signal } };
    const [list, frame] = [prompts(params.prompt), { ...framed("cmpl", params.model), object: "text_completion" as const }];
    const counted = new Counted();
    if (asked.stream) return streamed(this.#pieces(list, all, frame, counted), controller);
    const choices: Completion["choices"] = [];
    for await (const { choices: [piece] } of this.#pieces(list, { ...all, usage: false }, frame, counted)) {
      if (!piece) continue;
      const choice = (choices[piece.index] ??= { ...piece, text: "", logprobs: null });
      choice.text += piece.text;
      if (piece.logprobs) choice.logprobs = joined(choice.logprobs, piece.logprobs);
      choice.finish_reason = piece.finish_reason;
    }
    return { ...frame, choices, usage: counted.usage };
  }

  async embed(params: EmbeddingParams, { signal }: RequestOptions): Promise<Embeddings> {
    const { input, encoding_format: format = "float" } = params;
    if (format !== "float" && format !== "base64") throw APIError.field("encoding_format", "encoding_format must be float or base64");
    const dimensions = integer({ ...params }, "dimensions", 1, this.#model.width);
    const tokens = Array.isArray(input) && typeof input[0] !== "string";
    const texts = tokens ? prompts(input as Exclude<typeof input, string>) : strings({ ...params }, "input", 2048);
    if (texts.length === 0 || texts.some((text) => text.length === 0)) {
      throw APIError.field("input", "input must be a text or a list of texts, none of which is empty");
    }
    const options = { ...(signal && { signal }), ...(dimensions !== undefined && { dimensions }) };
    const data: Embeddings["data"] = [];
    let count = 0;
    for (const [index, text] of texts.entries()) {
      const ids = typeof text === "string" ? await this.#model.tokenize(text) : (text as readonly number[]);
      const vector = await this.#model.embed(ids, options);
      count += ids.length;
      data.push({ object: "embedding", index, embedding: format === "base64" ? (base64(vector) as unknown as number[]) : [...vector] });
    }
    return { object: "list", model: params.model, data, usage: { prompt_tokens: count, total_tokens: count } };
  }

  /** Yields the events of every choice, and then its result. */
  async *#choices(messages: readonly Message[], { options, choices }: Settings): AsyncGenerator<[index: number, told: AnswerEvent | AnswerResult]> {
    for (let index = 0; index < choices; index++) {
      const events = this.#answers.events(messages, { ...options, sequence: index });
      try {
        for (let item = await events.next(); ; item = await events.next()) {
          yield [index, item.value];
          if (item.done) break;
        }
      } finally {
        await events.return(undefined as never);
      }
    }
  }

  async *#chunks(messages: readonly Message[], asked: Settings, frame: ReturnType<typeof framed>): AsyncGenerator<ChatCompletionChunk, void, void> {
    const [counted, object] = [new Counted(), "chat.completion.chunk" as const];
    let told: TokenLogprob[] = [];
    const usage = asked.usage ? { usage: null } : {};
    const chunk = (index: number, delta: ChatDelta, finish_reason: Finish | null = null): ChatCompletionChunk => {
      const logprobs: ChatLogprobs | null = told.length > 0 ? { content: told, refusal: null } : null;
      told = [];
      return { ...frame, object, choices: [{ index, delta, logprobs, finish_reason }], ...usage };
    };
    let opened = -1;
    for await (const [index, event] of this.#choices(messages, asked)) {
      if (opened < index) yield chunk((opened = index), { role: "assistant", content: "" });
      if ("usage" in event) {
        counted.add(event);
        if (told.length > 0) yield chunk(index, { content: "" });
        yield chunk(index, {}, event.finishReason);
      } else if (event.type === "token") {
        if (told.length > 0) yield chunk(index, { content: "" });
        told = [await this.#logprob(event)];
      } else {
        const delta = deltaOf(event);
        if (delta) yield chunk(index, delta);
      }
    }
    if (asked.usage) yield { ...frame, object, choices: [], usage: counted.usage };
  }

  async #whole(messages: readonly Message[], asked: Settings, frame: ReturnType<typeof framed>): Promise<ChatCompletion> {
    const counted = new Counted();
    const choices: ChatCompletion["choices"] = [];
    let [content, calls]: [TokenLogprob[], FunctionCall[]] = [[], []];
    for await (const [index, event] of this.#choices(messages, asked)) {
      if ("usage" in event) {
        counted.add(event);
        const message: ChatCompletion["choices"][number]["message"] = {
          role: "assistant",
          content: calls.length > 0 && !event.text ? null : event.text,
          refusal: null,
          ...(event.reasoning && { reasoning_content: event.reasoning }),
          ...(calls.length > 0 && { tool_calls: calls }),
        };
        const logprobs = asked.options.logprobs === undefined ? null : { content, refusal: null };
        choices.push({ index, finish_reason: event.finishReason, logprobs, message });
        [content, calls] = [[], []];
      } else if (event.type === "token") content.push(await this.#logprob(event));
      else if (event.type === "tool-call") calls.push({ id: event.id, type: "function", function: { name: event.name, arguments: "" } });
      else if (event.type === "tool-arguments") {
        const call = calls[event.index];
        if (call) call.function.arguments += event.text;
      }
    }
    return { ...frame, object: "chat.completion", choices, usage: counted.usage };
  }

  /** Yields the pieces of the answers to each prompt, as chunks of a completion. */
  async *#pieces(
    list: readonly Prompt[],
    { options, choices, usage }: Settings,
    frame: Omit<Completion, "choices">,
    counted: Counted,
  ): AsyncGenerator<Completion, void, void> {
    for (let index = 0; index < list.length * choices; index++) {
      let offset = 0;
      const answer = this.#model.generateTokens(list[Math.floor(index / choices)] as Prompt, { ...options, sequence: index % choices });
      const chunk = (text: string, logprobs: TextLogprobs | null, finish?: "stop" | "length"): Completion => {
        // OpenAI's types leave out that the reason is null in all chunks but the last.
        return { ...frame, choices: [{ index, text, logprobs, finish_reason: (finish ?? null) as "stop" }] };
      };
      for (;;) {
        const item = await answer.next();
        if (item.done) {
          const { text, finishReason } = item.value;
          counted.add(item.value);
          // The last characters may belong to no token: they were held back as the possible beginning of a stop text.
          const rest = [...text].slice(offset).join("");
          yield chunk(rest, null, finishReason === "length" ? "length" : "stop");
          break;
        }
        const { text } = item.value;
        if (text || options.logprobs !== undefined) yield chunk(text, await this.#textLogprobs(item.value, offset));
        offset += [...text].length;
      }
    }
    if (usage) yield { ...frame, choices: [], usage: counted.usage };
  }

  /** Returns the text of one token. */
  async #spell(id: number): Promise<string> {
    const known = this.#spelled.get(id);
    if (known !== undefined) return known;
    const text = await this.#model.detokenize([id], { skipSpecial: false });
    this.#spelled.set(id, text);
    return text;
  }

  async #logprob({ id, score }: Token): Promise<TokenLogprob> {
    const entry = async (id: number, logprob: number) => {
      const token = await this.#spell(id);
      // Part of a character has no spelling of its own.
      const bytes = token.includes("\u{fffd}") ? null : [...new TextEncoder().encode(token)];
      return { token, logprob: rounded(logprob), bytes };
    };
    const likeliest = score?.topLogprobs ?? [];
    const top_logprobs = await Promise.all(likeliest.map(({ id, logprob }) => entry(id, logprob)));
    return { ...(await entry(id, score?.logprob ?? -9999)), top_logprobs };
  }

  async #textLogprobs({ id, score }: Token, offset: number): Promise<TextLogprobs | null> {
    if (!score) return null;
    const likeliest = score.topLogprobs.map(async ({ id, logprob }) => [await this.#spell(id), rounded(logprob)] as const);
    return {
      tokens: [await this.#spell(id)],
      token_logprobs: [rounded(score.logprob)],
      top_logprobs: [Object.fromEntries(await Promise.all(likeliest))],
      text_offset: [offset],
    };
  }
}

function deltaOf(event: Exclude<AnswerEvent, { type: "token" }>): ChatDelta | undefined {
  switch (event.type) {
    case "reasoning":
      return { reasoning_content: event.text };
    case "tool-call":
      return { tool_calls: [{ index: event.index, id: event.id, type: "function", function: { name: event.name, arguments: "" } }] };
    case "tool-arguments":
      return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] };
    default:
      return event.text ? { content: event.text } : undefined;
  }
}

/** Returns a completion's prompts: a text, ids, or a list of either. */
function prompts(prompt: CompletionParams["prompt"]): Prompt[] {
  const ids = (value: unknown): value is number[] => Array.isArray(value) && value.length > 0 && value.every((id) => typeof id === "number");
  if (typeof prompt === "string" || ids(prompt)) return [prompt];
  const several = Array.isArray(prompt) && prompt.length > 0 && prompt.every((one) => typeof one === "string" || ids(one));
  if (!several) throw APIError.field("prompt", "prompt must be a string, a list of tokens, or a list of these");
  return [...(prompt as Prompt[])];
}

function joined(before: TextLogprobs | null, after: TextLogprobs): TextLogprobs {
  if (!before) return after;
  return {
    tokens: [...before.tokens, ...after.tokens],
    token_logprobs: [...before.token_logprobs, ...after.token_logprobs],
    top_logprobs: [...before.top_logprobs, ...after.top_logprobs],
    text_offset: [...before.text_offset, ...after.text_offset],
  };
}

/** Returns the bytes of a vector, little-endian, as OpenAI's clients decode them. */
function base64(vector: Float32Array): string {
  const bytes = new Uint8Array(Float32Array.from(vector).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
