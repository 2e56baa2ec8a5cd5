// Sessions of a model: one KV cache for each branch of the conversation that is in memory. A new branch is a fork, so that
// the older one can be continued without reading it again.

/** Maximum number of branches in memory. */
const MOST_BRANCHES = 4;
/** A session that would lose more tokens than this is forked instead. */
const WORTH_KEEPING = 8;

/** Returns the length of the longest common prefix. */
function common(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}

const full = ({ code }) => code === "context-full" || code === "out-of-memory" || code === "limit";

export class Kv {
  /** Sessions, the one used last first. */
  #sessions = [];
  #model;
  /** Capacity of a branch in tokens. */
  context;

  constructor(model, context, session) {
    this.#model = model;
    this.context = context;
    this.#sessions = [session];
  }

  /** Opens an empty session. The pool has room for half of a second branch. */
  static async open(model, wanted, signal) {
    const context = Math.min(model.context, wanted);
    const session = await model.session({ context, pool: context + Math.ceil(context / 2), signal });
    return new Kv(model, context, session);
  }

  /** The session of the branch that was used last. */
  get session() {
    return this.#sessions[0];
  }

  /**
   * Replaces the text of the best session, or of a fork of it, with these token ids. Calls `reading` with the number of
   * tokens that are not cached. Returns the counts of `rewrite`.
   */
  async prepare(ids, { signal, reading = () => {} } = {}) {
    const held = await Promise.all(this.#sessions.map((session) => session.tokens()));
    const shared = held.map((tokens) => common(tokens, ids));
    const best = shared.indexOf(Math.max(...shared));
    const lost = held[best].length - shared[best];
    let session = this.#sessions[best];
    // A session that shares nothing is emptied: a fork of it would share nothing either.
    if (lost > WORTH_KEEPING && shared[best] > 0) session = await this.#forked(session);
    this.#use(session);
    reading(ids.length - shared[best]);
    for (;;) {
      try {
        return await session.rewrite(ids, { signal });
      } catch (error) {
        if (!full(error) || ids.length > this.context || this.#sessions.length < 2) throw error;
        this.#sessions.pop().dispose();
      }
    }
  }

  async #forked(session) {
    try {
      const fork = await session.fork();
      while (this.#sessions.length >= MOST_BRANCHES) this.#drop(this.#sessions.findLast((other) => other !== session));
      return fork;
    } catch (error) {
      if (full(error)) return session;
      throw error;
    }
  }

  #drop(session) {
    this.#sessions = this.#sessions.filter((other) => other !== session);
    session.dispose();
  }

  #use(session) {
    this.#sessions = [session, ...this.#sessions.filter((other) => other !== session)];
  }

  /** Returns for each branch its tokens and how many of them it shares with the branch used last. */
  async branches() {
    const held = await Promise.all(this.#sessions.map((session) => session.tokens()));
    return held.map((tokens) => ({ tokens: tokens.length, shared: common(tokens, held[0]) }));
  }

  /** Returns the text of the chat template, and the token ids of a prompt: messages, or a text to continue. */
  async read(prompt, options = {}) {
    if (typeof prompt === "string") return { text: prompt, ids: await this.#model.tokenize(prompt) };
    const text = await this.#model.render(prompt, { addGenerationPrompt: !options.continueFinalMessage, ...options });
    return { text, ids: await this.#model.tokenize(text, { addSpecial: false }) };
  }
}
