/** Chats: conversations that stay in a session, so that each turn reads new tokens only. */

import {
  type Answer,
  type AnswerEvent,
  type AnswerResult,
  answering,
  type Begin,
  events,
  type GenerateOptions,
  type Link,
  pieces,
} from "./answer.js";
import { type Abortable, FoveateError, throwIfAborted } from "./error.js";
import { inputsOf, type Message, type Step, type TemplateInputs, withoutOldestTurn } from "./methods.js";
import { Session, type SessionOptions } from "./session.js";

/** Options of {@link Model.chat}. Those of answers are the defaults of each answer. `signal` cancels opening the session. */
export interface ChatOptions extends SessionOptions, Omit<GenerateOptions, "continueFinalMessage" | "signal"> {
  /** Message of the system, in front of the conversation. */
  readonly system?: string;
  /** Turns of an earlier conversation. */
  readonly messages?: readonly Message[];
  /**
   * If the context is full, `forget`, the default, drops the oldest turns of the conversation; the messages of the system
   * stay. With `error`, the answer fails with `context-full`.
   */
  readonly whenFull?: "forget" | "error";
  /** Number of `messages` that are never dropped, from the first one on: 0 by default. */
  readonly pinned?: number;
  /** Called when the oldest turns were dropped, with their number. */
  readonly onForget?: (turns: number) => void;
}

/**
 * A conversation and its session. Each answer reads only the messages that the session has not read. If an answer fails, is
 * cancelled or is left before its end, the conversation stays as it was.
 */
export class Chat {
  /** The conversation so far. It can be replaced, for example by an edited one: the part in common is not read again. */
  messages: readonly Message[];
  readonly #link: Link;
  readonly #session: Session;
  readonly #options: GenerateOptions;
  readonly #forgetting: Forgetting;
  #answering = false;

  private constructor(link: Link, session: Session, messages: readonly Message[], options: GenerateOptions, forgetting: Forgetting) {
    this.#link = link;
    this.#session = session;
    this.messages = messages;
    this.#options = options;
    this.#forgetting = forgetting;
  }

  /** @internal */
  static async open(link: Link, most: number, options: ChatOptions): Promise<Chat> {
    if (Array.isArray(options)) {
      const instead = "pass a conversation as `{ messages }`, or answer it once by `generate(messages)`";
      throw new FoveateError("config", `chat takes options: ${instead}`);
    }
    const { system, messages = [], whenFull = "forget", pinned = 0, onForget, context, pool, kv, signal, ...defaults } = options;
    const session = await Session.open(link, most, options);
    const all = system === undefined ? messages : [{ role: "system", content: system }, ...messages];
    const first = pinned + Number(system !== undefined);
    return new Chat(link, session, all, defaults, { pinned: whenFull === "forget" ? first : undefined, onForget });
  }

  /** Capacity of the session in tokens. */
  get context(): number {
    return this.#session.context;
  }

  /**
   * Answers a text of the user, a message, or several messages such as results of tools; yields pieces of the answer's text.
   * At its end, the messages and the answer become part of the conversation.
   *
   * @throws {FoveateError}
   */
  send(message: string | Message | readonly Message[], options: GenerateOptions = {}): Answer<string> {
    return this.#answer(message, options, pieces);
  }

  /**
   * Answers as {@link send}, and yields events: pieces of the text and of reasoning, calls of tools and their arguments.
   *
   * @throws {FoveateError}
   */
  sendEvents(message: string | Message | readonly Message[], options: GenerateOptions = {}): Answer<AnswerEvent> {
    return this.#answer(message, options, events);
  }

  /**
   * Adds messages to the conversation without answering them, and reads them ahead.
   *
   * @throws {FoveateError}
   */
  async append(message: string | Message | readonly Message[], { signal }: Abortable = {}): Promise<void> {
    this.#begin();
    try {
      const messages = [...this.messages, ...listed(message)];
      const ids = await this.#ids(messages, inputsOf(this.#options, false), signal);
      await this.#session.rewrite(ids, signal ? { signal } : {});
      this.messages = messages;
    } finally {
      this.#answering = false;
    }
  }

  /** Counts the tokens of the conversation with these messages behind it, up to where an answer would begin. */
  async countTokens(message: string | Message | readonly Message[] = [], { signal }: Abortable = {}): Promise<number> {
    const messages = [...this.messages, ...listed(message)];
    if (messages.length === 0) return 0;
    return (await this.#ids(messages, inputsOf(this.#options), signal)).length;
  }

  /**
   * Opens a second chat with the same conversation. Both share the memory of what they have in common.
   *
   * @throws {FoveateError}
   */
  async fork({ signal, onForget }: Pick<ChatOptions, "onForget"> & Abortable = {}): Promise<Chat> {
    throwIfAborted(signal);
    const forgetting = { pinned: this.#forgetting.pinned, onForget: onForget ?? this.#forgetting.onForget };
    return new Chat(this.#link, await this.#session.fork(), this.messages, this.#options, forgetting);
  }

  /** Frees the session. */
  dispose(): void {
    this.#session.dispose();
  }

  /** Returns the token ids of a conversation. */
  async #ids(messages: readonly Message[], inputs: TemplateInputs, signal: AbortSignal | undefined): Promise<Uint32Array> {
    const text = await this.#link.engine.call("render", [messages, inputs], { signal });
    return this.#link.engine.call("tokenize", [text, false], { signal });
  }

  #begin(): void {
    if (this.#answering) {
      throw new FoveateError("config", "the chat has not ended its last answer: read it to its end, leave its loop, or abort it");
    }
    this.#answering = true;
  }

  #answer<T>(message: string | Message | readonly Message[], own: GenerateOptions, view: (step: Step) => readonly T[]): Answer<T> {
    const options = { ...this.#options, ...own };
    const { signal } = options;
    let messages: readonly Message[] = [];
    const begin: Begin = async (asked) => {
      this.#begin();
      messages = [...this.messages, ...listed(message)];
      const conversation = { messages, inputs: inputsOf(options), pinned: this.#forgetting.pinned };
      try {
        const begun = await this.#link.engine.call("converse", [this.#session.handle, conversation, asked], { signal });
        const { pinned = 0, onForget } = this.#forgetting;
        for (let turn = 0; turn < begun.forgotten; turn++) messages = withoutOldestTurn(messages, pinned) ?? messages;
        if (begun.forgotten > 0) onForget?.(begun.forgotten);
        return begun.answer;
      } catch (error) {
        this.#answering = false;
        throw error;
      }
    };
    const ended = (result?: AnswerResult) => {
      this.#answering = false;
      if (result) this.messages = options.continueFinalMessage ? continued(messages, result.text) : [...messages, result.message];
    };
    return answering(this.#link, begin, options, view, ended);
  }
}

/** Policy for the oldest turns if the context is full. */
interface Forgetting {
  /** Number of messages that are never dropped; `undefined` if no message is ever dropped. */
  readonly pinned: number | undefined;
  readonly onForget: ((turns: number) => void) | undefined;
}

/** Returns messages with a text appended to the last one. */
function continued(messages: readonly Message[], text: string): readonly Message[] {
  const last = messages.at(-1);
  return last ? [...messages.slice(0, -1), { ...last, content: `${last.content ?? ""}${text}` }] : messages;
}

/** Returns a list of messages. A text becomes a message of the user. */
function listed(message: string | Message | readonly Message[]): readonly Message[] {
  if (typeof message === "string") return [{ role: "user", content: message }];
  return Array.isArray(message) ? message : [message as Message];
}
