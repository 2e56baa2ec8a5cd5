/**
 * A provider of the Vercel AI SDK (specification v4) for models in the page.
 *
 * ```js
 * import { load } from "foveate";
 * import { createFoveate } from "foveate/ai-sdk";
 * import { streamText } from "ai";
 *
 * const foveate = createFoveate({ smollm2: await load(address) });
 * const { textStream } = streamText({ model: foveate("smollm2"), prompt: "Who was Ada Lovelace?" });
 * ```
 *
 * @module
 */

import type { FinishReason, GenerateOptions } from "./answer.js";
import { FoveateError } from "./error.js";
import type { Model } from "./index.js";
import type { Message } from "./methods.js";
import { Stateless, unique } from "./stateless.js";

/** A setting that is not supported and was ignored. */
export type Warning = { type: "unsupported"; feature: string; details?: string };

/** The options of a call, as far as they are used here; a part of `LanguageModelV4CallOptions`. */
export interface CallOptions {
  readonly prompt: readonly { readonly role: string; readonly content: string | readonly object[] }[];
  readonly maxOutputTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly stopSequences?: readonly string[] | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly presencePenalty?: number | undefined;
  readonly frequencyPenalty?: number | undefined;
  readonly responseFormat?: { readonly type: "text" } | { readonly type: "json"; readonly schema?: unknown } | undefined;
  readonly seed?: number | undefined;
  readonly tools?: readonly object[] | undefined;
  readonly toolChoice?: { readonly type: "auto" | "none" | "required" } | { readonly type: "tool"; readonly toolName: string } | undefined;
  readonly reasoning?: string | undefined;
  readonly abortSignal?: AbortSignal | undefined;
}

export type Content =
  | { type: "text"; text: string }
  | { type: "reasoning"; text: string }
  | { type: "tool-call"; toolCallId: string; toolName: string; input: string };

export interface TokenUsage {
  inputTokens: { total: number; noCache: number; cacheRead: number; cacheWrite: undefined };
  outputTokens: { total: number; text: undefined; reasoning: undefined };
}

export interface Reason {
  unified: "stop" | "length" | "tool-calls";
  raw: FinishReason;
}

export type StreamPart =
  | { type: "stream-start"; warnings: Warning[] }
  | { type: "response-metadata"; id: string; timestamp: Date; modelId: string }
  | { type: "text-start" | "text-end" | "reasoning-start" | "reasoning-end" | "tool-input-end"; id: string }
  | { type: "text-delta" | "reasoning-delta" | "tool-input-delta"; id: string; delta: string }
  | { type: "tool-input-start"; id: string; toolName: string }
  | { type: "tool-call"; toolCallId: string; toolName: string; input: string }
  | { type: "finish"; usage: TokenUsage; finishReason: Reason }
  | { type: "error"; error: unknown };

/** A language model of the AI SDK. */
export interface FoveateLanguageModel {
  readonly specificationVersion: "v4";
  readonly provider: "foveate";
  readonly modelId: string;
  readonly supportedUrls: Record<string, RegExp[]>;
  doGenerate(options: CallOptions): Promise<{
    content: Content[];
    finishReason: Reason;
    usage: TokenUsage;
    response: { id: string; timestamp: Date; modelId: string };
    warnings: Warning[];
  }>;
  doStream(options: CallOptions): Promise<{ stream: ReadableStream<StreamPart> }>;
}

/** An embedding model of the AI SDK. */
export interface FoveateEmbeddingModel {
  readonly specificationVersion: "v4";
  readonly provider: "foveate";
  readonly modelId: string;
  readonly maxEmbeddingsPerCall: number;
  readonly supportsParallelCalls: boolean;
  doEmbed(options: { readonly values: readonly string[]; readonly dimensions?: number | undefined; readonly abortSignal?: AbortSignal | undefined }): Promise<{
    embeddings: number[][];
    usage: { tokens: number };
    warnings: Warning[];
  }>;
}

/** The provider: a function of a model's name. */
export interface FoveateProvider {
  (modelId: string): FoveateLanguageModel;
  readonly specificationVersion: "v4";
  languageModel(modelId: string): FoveateLanguageModel;
  embeddingModel(modelId: string): FoveateEmbeddingModel;
  /** Throws: there are no image models. */
  imageModel(modelId: string): never;
}

/** Options of {@link createFoveate}. */
export interface FoveateProviderOptions {
  /**
   * Capacity of the session of each model, in tokens: prompt and answer of one call. Default: 1024, or the model's context
   * length if that is smaller.
   */
  readonly context?: number;
}

/**
 * Returns a provider of these models by their names. Calls that begin like the last one of the same model read new tokens
 * only.
 */
export function createFoveate(models: Readonly<Record<string, Model>>, { context }: FoveateProviderOptions = {}): FoveateProvider {
  const answers = new Map(Object.entries(models).map(([name, model]) => [name, new Stateless(model, context)]));
  const find = (name: string): Stateless => {
    const found = answers.get(name);
    if (found) return found;
    throw new FoveateError("config", `there is no model ${name}; there are ${[...answers.keys()].join(", ")}`);
  };
  const languageModel = (name: string) => languageModelOf(name, find(name));
  const embeddingModel = (name: string) => embeddingModelOf(name, find(name).model);
  const imageModel = (name: string): never => {
    throw new FoveateError("unsupported", `${name}: there are no image models`);
  };
  return Object.assign(languageModel, { specificationVersion: "v4" as const, languageModel, embeddingModel, imageModel });
}

function languageModelOf(modelId: string, answers: Stateless): FoveateLanguageModel {
  return {
    ...{ specificationVersion: "v4", provider: "foveate", modelId, supportedUrls: {} },
    async doGenerate(options) {
      const content: Content[] = [];
      let [warnings, end]: [Warning[], Extract<StreamPart, { type: "finish" }> | undefined] = [[], undefined];
      let response = { id: "", timestamp: new Date(), modelId };
      for await (const part of partsOf(modelId, answers, options)) {
        const last = content.at(-1);
        if (part.type === "stream-start") warnings = part.warnings;
        else if (part.type === "response-metadata") response = { id: part.id, timestamp: part.timestamp, modelId };
        else if (part.type === "text-start") content.push({ type: "text", text: "" });
        else if (part.type === "reasoning-start") content.push({ type: "reasoning", text: "" });
        else if ((part.type === "text-delta" || part.type === "reasoning-delta") && last && "text" in last) last.text += part.delta;
        else if (part.type === "tool-call") content.push(part);
        else if (part.type === "finish") end = part;
      }
      if (!end) throw new FoveateError("internal", "the answer has no end");
      return { content, finishReason: end.finishReason, usage: end.usage, response, warnings };
    },
    async doStream(options) {
      const parts = partsOf(modelId, answers, options);
      // Errors of the call are thrown before the stream begins.
      const ready = [await parts.next(), await parts.next(), await parts.next()];
      const stream = new ReadableStream<StreamPart>({
        async pull(controller) {
          try {
            const item = ready.shift() ?? (await parts.next());
            if (item.done) controller.close();
            else controller.enqueue(item.value);
          } catch (error) {
            controller.enqueue({ type: "error", error });
            controller.close();
          }
        },
        cancel: async () => void (await parts.return()),
      });
      return { stream };
    },
  };
}

/** Yields the parts of an answer: blocks of text and of reasoning, and calls of tools. */
async function* partsOf(modelId: string, answers: Stateless, call: CallOptions): AsyncGenerator<StreamPart, void, void> {
  const { messages, options, warnings } = asked(call);
  yield { type: "stream-start", warnings };
  yield { type: "response-metadata", id: unique(), timestamp: new Date(), modelId };
  let open: { type: "text" | "reasoning"; id: string } | { type: "tool"; id: string; name: string; input: string } | undefined;
  let blocks = 0;
  const close = (): StreamPart[] => {
    const ended = open;
    open = undefined;
    if (!ended) return [];
    if (ended.type !== "tool") return [{ type: `${ended.type}-end`, id: ended.id }];
    const { id, name, input } = ended;
    return [{ type: "tool-input-end", id }, { type: "tool-call", toolCallId: id, toolName: name, input: input || "{}" }];
  };
  const events = answers.events(messages, options);
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) {
        yield* close();
        const { usage, finishReason } = value;
        const counted: TokenUsage = {
          inputTokens: {
            total: usage.promptTokens,
            noCache: usage.promptTokens - usage.cachedTokens,
            cacheRead: usage.cachedTokens,
            cacheWrite: undefined,
          },
          outputTokens: { total: usage.completionTokens, text: undefined, reasoning: undefined },
        };
        const unified = finishReason === "tool_calls" ? "tool-calls" : finishReason;
        yield { type: "finish", usage: counted, finishReason: { unified, raw: finishReason } };
        return;
      }
      if (value.type === "tool-call") {
        yield* close();
        open = { type: "tool", id: value.id, name: value.name, input: "" };
        yield { type: "tool-input-start", id: value.id, toolName: value.name };
      } else if (value.type === "tool-arguments") {
        if (open?.type !== "tool") continue;
        open.input += value.text;
        yield { type: "tool-input-delta", id: open.id, delta: value.text };
      } else if (value.type !== "token" && value.text) {
        const type = value.type === "reasoning" ? "reasoning" : "text";
        if (open?.type !== type) {
          yield* close();
          open = { type, id: String(blocks++) };
          yield { type: `${type}-start`, id: open.id };
        }
        yield { type: `${type}-delta`, id: open.id, delta: value.text };
      }
    }
  } finally {
    await events.return(undefined as never);
  }
}

/** Reads the options of a call. Unsupported tools and content become warnings. */
function asked(call: CallOptions): { messages: Message[]; options: GenerateOptions; warnings: Warning[] } {
  const warnings: Warning[] = [];
  const { maxOutputTokens, temperature, topP, topK, seed, stopSequences, presencePenalty, frequencyPenalty } = call;
  const { responseFormat, tools = [], toolChoice, reasoning, abortSignal } = call;
  const functions = (tools as readonly { type: string; name: string; description?: string; inputSchema: object; strict?: boolean }[]).filter((tool) => {
    if (tool.type !== "function") warnings.push({ type: "unsupported", feature: `tool ${tool.name}`, details: "only functions are supported" });
    return tool.type === "function";
  });
  const strict = functions.length > 0 && functions.every((tool) => tool.strict);
  const choices = { auto: strict ? "strict" : "auto", none: "none", required: "required" } as const;
  const given = functions.map(({ name, description, inputSchema }) => {
    return { type: "function", function: { name, ...(description && { description }), parameters: inputSchema } };
  });
  const chosen = toolChoice?.type === "tool" ? { name: toolChoice.toolName } : choices[toolChoice?.type ?? "auto"];
  const json = responseFormat?.type === "json" ? responseFormat : undefined;
  const options = {
    ...{ maxTokens: maxOutputTokens ?? 0xffff_ffff, temperature, topP, topK, seed, stop: stopSequences, signal: abortSignal },
    samplers: {
      ...(presencePenalty !== undefined && { "presence-penalty": presencePenalty }),
      ...(frequencyPenalty !== undefined && { "frequency-penalty": frequencyPenalty }),
    },
    ...(given.length > 0 && { tools: given, toolChoice: chosen }),
    ...(json && (json.schema ? { jsonSchema: json.schema } : { jsonMode: true })),
    ...(reasoning !== undefined && reasoning !== "provider-default" && { thinking: reasoning !== "none" }),
  };
  const known = Object.entries(options).filter(([, value]) => value !== undefined);
  return { messages: call.prompt.flatMap((message) => messagesOf(message, warnings)), options: Object.fromEntries(known), warnings };
}

interface PromptPart {
  readonly type: string;
  readonly text?: string;
  readonly toolCallId?: string;
  readonly toolName?: string;
  readonly input?: unknown;
  readonly output?: { readonly type: string; readonly value?: unknown; readonly reason?: string };
}

/** Converts a message; one with several results of tools becomes several. */
function messagesOf({ role, content }: CallOptions["prompt"][number], warnings: Warning[]): Message[] {
  if (typeof content === "string") return [{ role, content }];
  const parts = content as readonly PromptPart[];
  const known = ["text", "reasoning", "tool-call", "tool-result"];
  for (const { type } of parts.filter(({ type }) => !known.includes(type))) {
    warnings.push({ type: "unsupported", feature: `content of type ${type}` });
  }
  const results = parts.filter(({ type }) => type === "tool-result");
  const told = results.map(({ toolCallId, toolName, output }): Message => {
    const value = output?.type === "execution-denied" ? (output.reason ?? "execution denied") : output?.value;
    return { role: "tool", tool_call_id: toolCallId, name: toolName, content: typeof value === "string" ? value : JSON.stringify(value) };
  });
  if (role === "tool") return told;
  const texts = (type: string) => parts.filter((part) => part.type === type).map(({ text }) => text ?? "").join("");
  const calls = parts.filter(({ type }) => type === "tool-call").map(({ toolCallId, toolName, input }) => {
    return { id: toolCallId, type: "function", function: { name: toolName, arguments: input } };
  });
  const reasoning = texts("reasoning");
  const message: Message = {
    ...{ role, content: texts("text") },
    ...(reasoning && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
  return [message, ...told];
}

function embeddingModelOf(modelId: string, model: Model): FoveateEmbeddingModel {
  return {
    ...{ specificationVersion: "v4", provider: "foveate", modelId, maxEmbeddingsPerCall: 2048, supportsParallelCalls: false },
    async doEmbed({ values, dimensions, abortSignal }) {
      const signal = abortSignal ? { signal: abortSignal } : {};
      const options = { ...signal, ...(dimensions !== undefined && { dimensions }) };
      const embeddings: number[][] = [];
      let tokens = 0;
      for (const value of values) {
        const ids = await model.tokenize(value, signal);
        embeddings.push([...(await model.embed(ids, options))]);
        tokens += ids.length;
      }
      return { embeddings, usage: { tokens }, warnings: [] };
    },
  };
}
