// A conversation with the loaded model: sends, answers, continues, and switches between branches.

import { $, announce, described } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { answerOptions, settings } from "../settings.js";
import { remember } from "../start/speed.js";
import { showRunning } from "./composer.js";
import { follow, toEnd } from "./scroll.js";
import { endsThinking } from "./thoughts.js";
import { scored } from "./tokens.js";
import { add, begin, messages, path, remove, ROOT, step } from "./tree.js";
import { statistics, View } from "./view.js";

/** Number of tokens from which on a speed is worth keeping. */
const WORTH_KEEPING = 16;
/** Time in ms after which a growing answer is written, so that it survives a reload of the page. */
const WRITTEN_EVERY = 2000;

export class Chat {
  conversation = begin();
  #host;
  #hooks;
  #view;
  #answering;
  /** The conversation that is being answered. Another one may be shown. */
  #running;
  /** Texts of the present model's tokens. */
  #words = { of: undefined, texts: new Map() };

  /**
   * `hooks` are `changed(conversation)`; `growing(conversation)`, called now and then while an answer grows; `without()`, called if an answer needs a model and there is none; and
   * `before(found, options)`, `token()` and `after(found)` around the tokens of an answer.
   */
  constructor(host, hooks) {
    [this.#host, this.#hooks] = [host, hooks];
    this.#view = new View({
      edit: (node) => this.#edit(node),
      regenerate: (node) => this.#regenerate(node),
      step: (node, by) => this.#step(node, by),
      proceed: (node) => this.#able() && this.#answer(node, true),
    });
  }

  get busy() {
    return Boolean(this.#answering);
  }

  get empty() {
    return Object.keys(this.conversation.nodes).length === 0;
  }

  /** Messages of the selected branch. */
  get nodes() {
    return path(this.conversation);
  }

  /** Shows a conversation. */
  open(conversation) {
    this.stop();
    this.conversation = conversation;
    this.draw();
    toEnd();
  }

  draw() {
    const { probabilities } = settings;
    const busy = this.busy && this.#running === this.conversation;
    this.#view.draw(this.conversation, this.nodes, { busy, probabilities });
    $("start").hidden = !this.empty;
  }

  /** Adds a message and answers it. */
  send(text) {
    const parent = this.nodes.at(-1)?.id ?? ROOT;
    if (parent === ROOT) this.conversation.system = settings.system;
    this.#reply(add(this.conversation, parent, "user", text));
  }

  stop() {
    this.#answering?.abort();
  }

  /** Prompt of the selected branch, for the profile. */
  prompt() {
    return this.empty ? undefined : this.#prompt(this.nodes.at(-1));
  }

  #prompt(last) {
    const { hasTemplate } = this.#host.model;
    return hasTemplate ? messages(this.conversation, last) : path(this.conversation, last).map(({ content }) => content).join("");
  }

  #reply(user) {
    this.#answer(add(this.conversation, user.id, "assistant"));
  }

  /** Returns `true` if an answer can begin. Without a model, calls the hook `without`. */
  #able() {
    if (!this.#host.model) this.#hooks.without();
    return Boolean(this.#host.model) && !this.busy;
  }

  #edit(node) {
    if (!this.#able()) return;
    this.#view.edit(node, (text) => {
      if (text === undefined || text === node.content) this.draw();
      else this.#reply(add(this.conversation, node.parent, "user", text));
    });
  }

  #regenerate(node) {
    if (!this.#able()) return;
    // An answer that failed before its first token is replaced: there is nothing to go back to.
    const { parent } = node;
    if (!node.content) remove(this.conversation, node);
    this.#answer(add(this.conversation, parent, "assistant"));
  }

  #step(node, by) {
    step(this.conversation, node, by);
    this.draw();
    this.#hooks.changed(this.conversation);
  }

  /** Generates the content of `node`, or more of it if it is `continued`. */
  async #answer(node, continued = false) {
    if (this.busy) return;
    const mine = new AbortController();
    const { signal } = mine;
    const { conversation } = this;
    [this.#answering, this.#running] = [mine, conversation];
    delete node.error;
    node.finish = undefined;
    // Tokens are kept for the whole answer or not at all.
    if (!settings.probabilities) delete node.tokens;
    else if (!continued) node.tokens = [];
    showRunning(true);
    this.draw();
    toEnd();
    this.#hooks.changed(conversation);
    const status = (text) => ($("speed").textContent = text);
    status("Reading the prompt…");
    announce("Reading the prompt");
    let found;
    try {
      found = await this.#generate(node, continued, signal, status);
    } catch (error) {
      // An answer whose model was replaced can be continued by the new one.
      const ended = error.code === "cancelled" || signal.aborted || (error.code === "closed" && node.content);
      if (ended) node.finish = "stopped";
      else [node.finish, node.error] = ["error", this.#advice(error)];
    } finally {
      this.#answering = undefined;
      if (!node.content && node.finish === "stopped") remove(conversation, node);
      conversation.updated = Date.now();
      showRunning(false);
      status("");
      this.draw();
      follow();
      announce(node.error ?? (node.finish === "stopped" ? "Stopped" : "Answer complete"));
      this.#hooks.changed(conversation);
      this.#hooks.after(found);
    }
  }

  async #generate(node, continued, signal, status) {
    const { kv, model, entry } = this.#host;
    const last = continued ? node : this.conversation.nodes[node.parent];
    const prompt = this.#prompt(last);
    const { text, ids } = await kv.read(prompt, {
      ...(continued && model.hasTemplate ? { continueFinalMessage: true } : {}),
      ...(settings.thinking ? {} : { templateVariables: { enable_thinking: false } }),
    });
    if (!continued) node.thinking = endsThinking(text);
    const began = performance.now();
    const reading = (tokens) => status(`Reading the prompt: ${count(tokens, "new token")}…`);
    const found = await kv.prepare(ids, { signal, reading });
    found.readMs = performance.now() - began;
    const options = { ...answerOptions(), signal };
    await this.#hooks.before(found, options);
    const earlier = node.statistics?.generated ?? 0;
    const seen = { generated: 0, first: undefined, written: performance.now() };
    let frame;
    const show = () => {
      frame = undefined;
      // Another conversation may be shown meanwhile.
      const answer = this.#running === this.conversation ? this.#view.answer(node) : undefined;
      if (!answer) return;
      answer.update(false);
      status(statistics({ ...node.statistics, model: undefined }));
      follow();
    };
    const tokens = kv.session.generateTokens(options);
    try {
      for (;;) {
        const { value, done } = await tokens.next();
        if (done) {
          const room = seen.generated < options.maxTokens;
          node.finish = value?.finishReason === "length" ? (room ? "context" : "length") : "stop";
          return found;
        }
        seen.first ??= performance.now();
        seen.generated++;
        node.content += value.text;
        if (node.tokens && value.score) node.tokens.push(await scored(value, (id) => this.#word(model, id)));
        const seconds = (performance.now() - seen.first) / 1000;
        node.statistics = {
          generated: earlier + seen.generated,
          firstMs: seen.first - began,
          ...(seen.generated > 1 ? { perSecond: (seen.generated - 1) / seconds } : {}),
          promptTokens: found.promptTokens,
          cachedTokens: found.cachedTokens,
          model: entry.name,
        };
        frame ??= requestAnimationFrame(show);
        if (performance.now() - seen.written > WRITTEN_EVERY) {
          seen.written = performance.now();
          this.#hooks.growing(this.#running);
        }
        await this.#hooks.token();
      }
    } finally {
      cancelAnimationFrame(frame);
      if (seen.generated > WORTH_KEEPING) remember(entry.id, entry.bytes, node.statistics.perSecond);
    }
  }

  async #word(model, id) {
    if (this.#words.of !== model) this.#words = { of: model, texts: new Map() };
    const { texts } = this.#words;
    if (!texts.has(id)) texts.set(id, model.detokenize([id], { skipSpecial: false }));
    return texts.get(id);
  }

  #advice(error) {
    if (error.code === "context-full") return `The chat is longer than the context of ${count(this.#host.kv.context, "token")}. Start a new chat, or raise Context length in the settings and load the model again.`;
    if (error.code === "closed") return "The model was replaced while it answered.";
    return described(error);
  }
}
