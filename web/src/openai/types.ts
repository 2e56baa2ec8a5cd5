/** Requests and answers in OpenAI's form, as far as they are used here. */

/** A function that the model may call. */
export interface FunctionTool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string | undefined;
    readonly parameters?: object | undefined;
    /** Calls follow the schema if every tool says so. */
    readonly strict?: boolean | null | undefined;
  };
}

/** Fields that chats and completions share. */
export interface CommonParams {
  /** Name of the model. */
  readonly model: string;
  readonly frequency_penalty?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  /** Number of answers. */
  readonly n?: number | null | undefined;
  readonly seed?: number | null | undefined;
  readonly stop?: string | readonly string[] | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | undefined } | null | undefined;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  // Fields that OpenAI does not have, as on the server.
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
  readonly min_tokens?: number;
  readonly ignore_eos?: boolean;
  readonly guided_json?: object | boolean;
  readonly guided_regex?: string;
  readonly grammar?: string;
}

export interface ChatParams extends CommonParams {
  readonly messages: readonly object[];
  readonly max_completion_tokens?: number | null | undefined;
  readonly max_tokens?: number | null | undefined;
  readonly logprobs?: boolean | null | undefined;
  readonly top_logprobs?: number | null | undefined;
  readonly response_format?: object | undefined;
  readonly tools?: readonly object[] | undefined;
  readonly tool_choice?: string | object | undefined;
  /** Variables of the template, such as `{ enable_thinking: false }`. */
  readonly chat_template_kwargs?: object;
}

export interface CompletionParams extends CommonParams {
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[] | null;
  readonly max_tokens?: number | null | undefined;
  readonly logprobs?: number | null | undefined;
}

export interface EmbeddingParams {
  readonly model: string;
  readonly input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  readonly dimensions?: number | undefined;
  readonly encoding_format?: "float" | "base64" | undefined;
  readonly user?: string | undefined;
}

export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

export interface TopLogprob {
  token: string;
  logprob: number;
  bytes: number[] | null;
}

export interface TokenLogprob extends TopLogprob {
  top_logprobs: TopLogprob[];
}

export interface ChatLogprobs {
  content: TokenLogprob[] | null;
  refusal: null;
}

export type Finish = "stop" | "length" | "tool_calls";

export interface FunctionCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    finish_reason: Finish;
    logprobs: ChatLogprobs | null;
    message: {
      role: "assistant";
      content: string | null;
      refusal: null;
      reasoning_content?: string;
      tool_calls?: FunctionCall[];
    };
  }[];
  usage: CompletionUsage;
}

export interface ChatDelta {
  role?: "assistant";
  content?: string;
  reasoning_content?: string;
  tool_calls?: { index: number; id?: string; type?: "function"; function: { name?: string; arguments?: string } }[];
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: { index: number; delta: ChatDelta; logprobs: ChatLogprobs | null; finish_reason: Finish | null }[];
  usage?: CompletionUsage | null;
}

export interface TextLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

/** A completion, or a chunk of one that is streamed. */
export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: { index: number; text: string; logprobs: TextLogprobs | null; finish_reason: "stop" | "length" }[];
  usage?: CompletionUsage;
}

export interface Embeddings {
  object: "list";
  model: string;
  /** Vectors; with `encoding_format: "base64"` their bytes instead, as text. */
  data: { object: "embedding"; index: number; embedding: number[] }[];
  usage: { prompt_tokens: number; total_tokens: number };
}

export interface ModelEntry {
  id: string;
  object: "model";
  created: number;
  owned_by: string;
}

/** Chunks of an answer. Leaving a loop over them, or aborting the controller, ends it. */
export interface Stream<T> extends AsyncIterable<T> {
  readonly controller: AbortController;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | null | undefined;
}

export interface ModelList extends AsyncIterable<ModelEntry> {
  object: "list";
  data: ModelEntry[];
}
