/**
 * OpenAI's interface to models in the page.
 *
 * ```js
 * import { load } from "foveate";
 * import { createClient } from "foveate/openai";
 *
 * const client = createClient(await load(address));
 * const messages = [{ role: "user", content: "Who was Ada Lovelace?" }];
 * const { choices } = await client.chat.completions.create({ model: "any", messages });
 * ```
 *
 * Fields are those of the server, `foveate serve`; fields that change results and are not supported are errors.
 *
 * @module
 */

import type { Model } from "../index.js";
import { Hosted } from "./answers.js";
import { APIError } from "./error.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatParams,
  Completion,
  CompletionParams,
  EmbeddingParams,
  Embeddings,
  ModelEntry,
  ModelList,
  RequestOptions,
  Stream,
} from "./types.js";

export { APIError } from "./error.js";
export { createFetch } from "./fetch.js";
export type * from "./types.js";

/** Options of {@link createClient}. */
export interface ClientOptions {
  /**
   * Capacity of the session of each model, in tokens: prompt and answer of one request. Default: 1024, or the model's
   * context length if that is smaller.
   */
  readonly context?: number;
}

/** Creates an answer: a whole one, or with `stream` its chunks. */
export interface Create<Params, Whole, Chunk> {
  (params: Params & { readonly stream: true }, options?: RequestOptions): Promise<Stream<Chunk>>;
  (params: Params & { readonly stream?: false | null | undefined }, options?: RequestOptions): Promise<Whole>;
  (params: Params, options?: RequestOptions): Promise<Whole | Stream<Chunk>>;
}

/** The part of OpenAI's client that models in the page have. */
export interface Client {
  readonly chat: { readonly completions: { readonly create: Create<ChatParams, ChatCompletion, ChatCompletionChunk> } };
  readonly completions: { readonly create: Create<CompletionParams, Completion, Completion> };
  readonly embeddings: { create(params: EmbeddingParams, options?: RequestOptions): Promise<Embeddings> };
  readonly models: { list(): Promise<ModelList>; retrieve(name: string): Promise<ModelEntry> };
}

/**
 * Returns a client of one model, which answers under any name, or of several by their names. Requests that begin like the last
 * one of the same model read new tokens only.
 */
export function createClient(models: Model | Readonly<Record<string, Model>>, { context }: ClientOptions = {}): Client {
  const single = "generate" in models && typeof models.generate === "function" ? (models as Model) : undefined;
  const named = single ? { [single.architecture]: single } : (models as Readonly<Record<string, Model>>);
  const hosted = new Map(Object.entries(named).map(([name, model]) => [name, new Hosted(model, context)]));
  const entry = (name: string): ModelEntry => ({ id: name, object: "model", created: 0, owned_by: "foveate" });
  const find = (name: unknown): Hosted => {
    const found = single ? [...hosted.values()][0] : hosted.get(String(name));
    if (found) return found;
    const message = `no model ${JSON.stringify(name)}: there are ${[...hosted.keys()].join(", ")}`;
    throw new APIError(404, message, { param: "model", code: "model_not_found" });
  };
  const guarded = <Params extends { model: string }, Result>(work: (hosted: Hosted, params: Params, options: RequestOptions) => Promise<Result>) => {
    return async (params: Params, options: RequestOptions = {}): Promise<Result> => {
      try {
        return await work(find(params?.model), params, options);
      } catch (error) {
        throw APIError.from(error);
      }
    };
  };
  return {
    chat: { completions: { create: guarded((hosted, params: ChatParams, options) => hosted.chat(params, options)) as never } },
    completions: { create: guarded((hosted, params: CompletionParams, options) => hosted.complete(params, options)) as never },
    embeddings: { create: guarded((hosted, params: EmbeddingParams, options) => hosted.embed(params, options)) },
    models: {
      async list() {
        const data = [...hosted.keys()].map(entry);
        return { object: "list", data, async *[Symbol.asyncIterator]() { yield* data; } };
      },
      retrieve: async (name) => (find(name), entry(single ? single.architecture : name)),
    },
  };
}
