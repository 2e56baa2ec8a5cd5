/** Answers for interfaces in which each request holds the whole conversation. */

import type { AnswerEvent, AnswerResult, GenerateOptions } from "./answer.js";
import type { Chat } from "./chat.js";
import type { Model } from "./index.js";
import type { Message } from "./methods.js";

/** Returns an id that no other answer has. `crypto.randomUUID` is missing on pages without TLS. */
export const unique = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16).padStart(8, "0")).join("");

/** A model, and the session of its last conversation. The next conversation reads only the tokens behind the common prefix. */
export class Stateless {
  readonly model: Model;
  readonly #context: number | undefined;
  #chat: Promise<Chat> | undefined;
  #busy = false;

  /** `context` is the capacity of the session. */
  constructor(model: Model, context: number | undefined) {
    this.model = model;
    this.#context = context;
  }

  /** Answers a conversation in the session of the last one; while that is in use, in a session of its own. */
  async *events(messages: readonly Message[], options: GenerateOptions): AsyncGenerator<AnswerEvent, AnswerResult, void> {
    const own = !this.#busy;
    if (own) this.#busy = true;
    try {
      const answer = own ? (await this.#cleared()).sendEvents(messages, options) : this.model.generateEvents(messages, options);
      for await (const event of answer) yield event;
      return await answer.result();
    } finally {
      if (own) this.#busy = false;
    }
  }

  async #cleared(): Promise<Chat> {
    const context = this.#context === undefined ? {} : { context: this.#context };
    this.#chat ??= this.model.chat({ ...context, whenFull: "error" });
    try {
      const chat = await this.#chat;
      chat.messages = [];
      return chat;
    } catch (error) {
      this.#chat = undefined;
      throw error;
    }
  }
}
