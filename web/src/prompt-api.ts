/**
 * The `LanguageModel` of the browsers' Prompt API, for browsers that lack it and for models of one's own choice.
 *
 * ```js
 * import { createLanguageModel } from "foveate/prompt-api";
 *
 * globalThis.LanguageModel ??= createLanguageModel("https://example.com/model.gguf");
 * const session = await LanguageModel.create({ initialPrompts: [{ role: "system", content: "Answer in one sentence." }] });
 * for await (const piece of session.promptStreaming("Who was Ada Lovelace?")) document.body.append(piece);
 * ```
 *
 * @module
 */

import type { GenerateOptions } from "./answer.js";
import type { Chat } from "./chat.js";
import { abortable } from "./error.js";
import { FoveateError, load, type LoadOptions, type Message, Model, type ModelSource } from "./index.js";

/** A message of a prompt. */
export interface LanguageModelMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly { readonly type: string; readonly value: unknown }[];
  /** The answer continues this message, the last one, of the assistant. */
  readonly prefix?: boolean;
}

export type LanguageModelPrompt = string | readonly LanguageModelMessage[];

/** A function that the model may call. Its results are put back until the model answers. */
export interface LanguageModelTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: object;
  execute(input: unknown): Promise<unknown> | unknown;
}

export interface LanguageModelCoreOptions {
  readonly topK?: number;
  readonly temperature?: number;
  readonly expectedInputs?: readonly { readonly type: string; readonly languages?: readonly string[] }[];
  readonly expectedOutputs?: readonly { readonly type: string; readonly languages?: readonly string[] }[];
  readonly tools?: readonly LanguageModelTool[];
}

export interface LanguageModelCreateOptions extends LanguageModelCoreOptions {
  readonly initialPrompts?: readonly LanguageModelMessage[];
  readonly signal?: AbortSignal;
  /** Gets a target of `downloadprogress` events, whose `loaded` goes from 0 to 1. */
  readonly monitor?: (monitor: EventTarget) => void;
}

export interface LanguageModelPromptOptions {
  /** A JSON schema or a `RegExp` that the answer matches. */
  readonly responseConstraint?: object | boolean | RegExp;
  /** Accepted for compatibility: constraints are never part of the input. */
  readonly omitResponseConstraintInput?: boolean;
  readonly signal?: AbortSignal;
}

export type LanguageModelAvailability = "unavailable" | "downloadable" | "downloading" | "available";

/** A session of the Prompt API. */
export interface LanguageModel extends EventTarget {
  readonly topK: number;
  readonly temperature: number;
  /** Tokens of the conversation. */
  readonly inputUsage: number;
  /** Capacity of the session in tokens. */
  readonly inputQuota: number;
  /** Called when the oldest turns are dropped because the session is full. */
  onquotaoverflow: ((event: Event) => unknown) | null;
  prompt(input: LanguageModelPrompt, options?: LanguageModelPromptOptions): Promise<string>;
  promptStreaming(input: LanguageModelPrompt, options?: LanguageModelPromptOptions): ReadableStream<string>;
  append(input: LanguageModelPrompt, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Counts the tokens that an input adds to the conversation. */
  measureInputUsage(input: LanguageModelPrompt, options?: LanguageModelPromptOptions): Promise<number>;
  clone(options?: { readonly signal?: AbortSignal }): Promise<LanguageModel>;
  destroy(): void;
}

/** The class, as pages use it. */
export interface LanguageModelStatic {
  create(options?: LanguageModelCreateOptions): Promise<LanguageModel>;
  availability(options?: LanguageModelCoreOptions): Promise<LanguageModelAvailability>;
  params(): Promise<{ defaultTopK: number; maxTopK: number; defaultTemperature: number; maxTemperature: number }>;
}

/** Options of {@link createLanguageModel}: those of `load`, and the capacity of each session. */
export interface LanguageModelOptions extends Omit<LoadOptions, "signal" | "onProgress"> {
  /** Capacity of a session in tokens. Default: 1024, or the model's context length if that is smaller. */
  readonly context?: number;
}

/** Parameters of the sampler, as in Chrome. */
const PARAMS = { defaultTopK: 3, maxTopK: 128, defaultTemperature: 1, maxTemperature: 2 };

/** Returns an exception of the web platform. */
const exception = (name: string, message: string) => new DOMException(message, name);

/** Converts an error of this package to what the Prompt API throws. */
function thrown(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (!(error instanceof FoveateError)) return error;
  const names: Partial<Record<FoveateError["code"], string>> = {
    cancelled: "AbortError",
    closed: "InvalidStateError",
    config: "NotSupportedError",
    template: "NotSupportedError",
    "context-full": "QuotaExceededError",
  };
  return exception(names[error.code] ?? "OperationError", error.message);
}

/** Reads a prompt. Texts only: other content is not supported. */
function messagesOf(input: LanguageModelPrompt): { messages: Message[]; prefix: boolean } {
  if (typeof input === "string") return { messages: [{ role: "user", content: input }], prefix: false };
  if (!Array.isArray(input)) throw new TypeError("a prompt must be a string or a list of messages");
  const all = input as readonly LanguageModelMessage[];
  const messages = all.map(({ role, content }) => {
    if (!["system", "user", "assistant"].includes(role)) throw new TypeError(`a role must be system, user or assistant, got ${role}`);
    if (typeof content === "string") return { role, content };
    const other = content.find(({ type }) => type !== "text");
    if (other) throw exception("NotSupportedError", `content of type ${other.type} is not supported`);
    return { role, content: content.map(({ value }) => String(value)).join("") };
  });
  const at = all.findIndex(({ prefix }) => prefix);
  if (at >= 0 && (at < all.length - 1 || all[at]?.role !== "assistant")) {
    throw exception("SyntaxError", "only the last message can be a prefix, and only one of the assistant");
  }
  return { messages, prefix: at >= 0 };
}

/** Event of a download; `loaded` is the share that has arrived, 0 to 1. */
class DownloadProgress extends Event {
  readonly lengthComputable = true;
  readonly total = 1;
  readonly loaded: number;

  constructor(loaded: number) {
    super("downloadprogress");
    this.loaded = loaded;
  }
}

/** The session behind {@link LanguageModel}. Its calls run one after the other. */
class Session extends EventTarget implements LanguageModel {
  readonly topK: number;
  readonly temperature: number;
  readonly #chat: Chat;
  readonly #tools: readonly LanguageModelTool[];
  readonly #ended: AbortController;
  #onquotaoverflow: ((event: Event) => unknown) | null = null;
  #usage = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(chat: Chat, { topK = PARAMS.defaultTopK, temperature = PARAMS.defaultTemperature, tools = [] }: LanguageModelCoreOptions, usage: number, overflow: EventTarget) {
    super();
    this.#chat = chat;
    this.#tools = tools;
    this.#ended = new AbortController();
    this.#usage = usage;
    [this.topK, this.temperature] = [topK, temperature];
    overflow.addEventListener("quotaoverflow", () => this.dispatchEvent(new Event("quotaoverflow")), { signal: this.#ended.signal });
  }

  get inputUsage(): number {
    return this.#usage;
  }

  get inputQuota(): number {
    return this.#chat.context;
  }

  get onquotaoverflow(): ((event: Event) => unknown) | null {
    return this.#onquotaoverflow;
  }

  set onquotaoverflow(listener: ((event: Event) => unknown) | null) {
    if (this.#onquotaoverflow) this.removeEventListener("quotaoverflow", this.#onquotaoverflow);
    this.#onquotaoverflow = typeof listener === "function" ? listener : null;
    if (this.#onquotaoverflow) this.addEventListener("quotaoverflow", this.#onquotaoverflow);
  }

  async prompt(input: LanguageModelPrompt, options: LanguageModelPromptOptions = {}): Promise<string> {
    let text = "";
    for await (const piece of this.#answer(input, options)) text += piece;
    return text;
  }

  promptStreaming(input: LanguageModelPrompt, options: LanguageModelPromptOptions = {}): ReadableStream<string> {
    const pieces = this.#answer(input, options);
    return new ReadableStream<string>({
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => void (await pieces.return()),
    });
  }

  append(input: LanguageModelPrompt, { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#turn(signal, async (signal) => {
      await this.#chat.append(messagesOf(input).messages, { signal });
      this.#usage = await this.#chat.countTokens();
    });
  }

  measureInputUsage(input: LanguageModelPrompt, { signal }: LanguageModelPromptOptions = {}): Promise<number> {
    return this.#turn(signal, async (signal) => {
      const [before, after] = [await this.#chat.countTokens([], { signal }), await this.#chat.countTokens(messagesOf(input).messages, { signal })];
      return after - before;
    });
  }

  clone({ signal }: { readonly signal?: AbortSignal } = {}): Promise<LanguageModel> {
    return this.#turn(signal, async (signal) => {
      const overflow = new EventTarget();
      const chat = await this.#chat.fork({ signal, onForget: () => overflow.dispatchEvent(new Event("quotaoverflow")) });
      const { topK, temperature } = this;
      return new Session(chat, { topK, temperature, tools: this.#tools }, this.#usage, overflow);
    });
  }

  destroy(): void {
    this.#ended.abort(exception("AbortError", "the session was destroyed"));
    this.#chat.dispose();
  }

  /** Runs `work` after all earlier calls. Its signal is aborted by the caller's, and when the session is destroyed. */
  #turn<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const run = async () => {
      this.#alive();
      const { either, release } = this.#either(signal);
      try {
        either.throwIfAborted();
        return await work(either);
      } catch (error) {
        throw thrown(error, either);
      } finally {
        release();
      }
    };
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => {});
    return turn;
  }

  #alive(): void {
    if (this.#ended.signal.aborted) throw exception("InvalidStateError", "the session was destroyed");
  }

  #either(signal: AbortSignal | undefined): { either: AbortSignal; release: () => void } {
    const [controller, released] = [new AbortController(), new AbortController()];
    for (const one of [signal, this.#ended.signal]) {
      const abort = () => controller.abort(one?.reason);
      if (one?.aborted) abort();
      one?.addEventListener("abort", abort, { signal: released.signal });
    }
    return { either: controller.signal, release: () => released.abort() };
  }

  /** Yields an answer, after all earlier calls. Tools are called until there is one. */
  async *#answer(input: LanguageModelPrompt, { responseConstraint, signal }: LanguageModelPromptOptions): AsyncGenerator<string, void, void> {
    this.#alive();
    const { messages, prefix } = messagesOf(input);
    const before = this.#last;
    let end = () => {};
    this.#last = new Promise<void>((resolve) => (end = resolve));
    const { either, release } = this.#either(signal);
    try {
      await before;
      this.#alive();
      either.throwIfAborted();
      const options: GenerateOptions = {
        ...{ topK: this.topK, temperature: this.temperature, seed: Math.floor(Math.random() * 2 ** 32), signal: either },
        maxTokens: this.#chat.context,
        ...(responseConstraint instanceof RegExp ? { regex: responseConstraint } : responseConstraint !== undefined && { jsonSchema: responseConstraint }),
      };
      for (let next: readonly Message[] = messages; next.length > 0; ) {
        const answer = this.#chat.send(next, next === messages && prefix ? { ...options, continueFinalMessage: true } : options);
        yield* { [Symbol.asyncIterator]: () => answer as AsyncIterator<string> };
        const { toolCalls } = await answer.result();
        next = await Promise.all(toolCalls.map((call) => this.#call(call)));
      }
      this.#usage = await this.#chat.countTokens();
    } catch (error) {
      throw thrown(error, either);
    } finally {
      release();
      end();
    }
  }

  async #call({ id, name, arguments: input }: { id: string; name: string; arguments: unknown }): Promise<Message> {
    const tool = this.#tools.find((tool) => tool.name === name);
    const result = tool ? await tool.execute(input) : `there is no tool ${name}`;
    return { role: "tool", name, tool_call_id: id, content: typeof result === "string" ? result : JSON.stringify(result) };
  }
}

/** Returns a `LanguageModel` over a model, or over the source of one, which is loaded with the first session. */
export function createLanguageModel(source: ModelSource | Model, { context, ...options }: LanguageModelOptions = {}): LanguageModelStatic {
  let loading: Promise<Model> | undefined;
  let state: LanguageModelAvailability = source instanceof Model ? "available" : "downloadable";
  const monitors = new Set<EventTarget>();
  const tell = (loaded: number) => monitors.forEach((monitor) => monitor.dispatchEvent(new DownloadProgress(loaded)));
  const loaded = (): Promise<Model> => {
    if (source instanceof Model) return Promise.resolve(source);
    if (loading) return loading;
    state = "downloading";
    const onProgress: LoadOptions["onProgress"] = ({ loadedBytes, totalBytes }) => loadedBytes < totalBytes && tell(loadedBytes / totalBytes);
    loading = load(source, { ...options, onProgress });
    loading.then(
      () => (state = "available"),
      () => ([state, loading] = ["downloadable", undefined]),
    );
    return loading;
  };
  const plain = ({ expectedInputs = [], expectedOutputs = [] }: LanguageModelCoreOptions) => {
    return [...expectedInputs, ...expectedOutputs].every(({ type }) => type === "text" || type === "tool-call" || type === "tool-response");
  };
  return {
    async create({ initialPrompts = [], signal, monitor, ...core }: LanguageModelCreateOptions = {}): Promise<LanguageModel> {
      signal?.throwIfAborted();
      const { topK, temperature, tools = [] } = core;
      if ((topK === undefined) !== (temperature === undefined)) throw exception("NotSupportedError", "give both topK and temperature, or neither");
      if (topK !== undefined && !(topK >= 1)) throw new RangeError(`topK must be at least 1, got ${topK}`);
      if (temperature !== undefined && !(temperature >= 0)) throw new RangeError(`temperature must be at least 0, got ${temperature}`);
      if (!plain(core)) throw exception("NotSupportedError", "only text is supported");
      const { messages, prefix } = messagesOf(initialPrompts);
      if (prefix || messages.some(({ role }, i) => role === "system" && i > 0)) throw new TypeError("a message of the system must be the first one, and none is a prefix");
      const target = new EventTarget();
      monitor?.(target);
      monitors.add(target);
      try {
        target.dispatchEvent(new DownloadProgress(0));
        const model = await abortable(loaded(), signal);
        target.dispatchEvent(new DownloadProgress(1));
        const overflow = new EventTarget();
        const functions = tools.map(({ name, description, inputSchema }) => ({ type: "function", function: { name, description, parameters: inputSchema } }));
        const chat = await model.chat({
          messages,
          pinned: messages.length,
          onForget: () => overflow.dispatchEvent(new Event("quotaoverflow")),
          ...(context !== undefined && { context }),
          ...(functions.length > 0 && { tools: functions }),
          ...(signal && { signal }),
        });
        if (messages.length > 0) await chat.append([], signal ? { signal } : {});
        return new Session(chat, core, await chat.countTokens(), overflow);
      } catch (error) {
        throw thrown(error, signal);
      } finally {
        monitors.delete(target);
      }
    },
    availability: async (core = {}) => (plain(core) ? state : "unavailable"),
    params: async () => PARAMS,
  };
}
