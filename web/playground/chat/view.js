// The messages of a conversation as elements.

import { $, button, copy, element } from "../lib/dom.js";
import { count, duration, rate } from "../lib/format.js";
import { Markdown } from "./markdown.js";
import { split } from "./thoughts.js";
import { tokenBox, tokenSpan } from "./tokens.js";
import { siblings } from "./tree.js";

/** Reasons that an answer ended early, in words. */
const ENDED = {
  length: "Cut off at Max tokens.",
  context: "Cut off: the context is full.",
  stopped: "Stopped.",
  error: "The answer failed.",
  lost: "The page was closed before this answer ended.",
};

/** Height of the field of a long message that is edited, in pixels. */
const MOST_EDITED = 320;

/** Describes the counts and times of an answer. */
export function statistics({ generated, firstMs, perSecond, promptTokens, cachedTokens, model }) {
  const parts = [count(generated, "token")];
  if (perSecond) parts.push(rate(perSecond));
  if (firstMs !== undefined) parts.push(`first token after ${duration(firstMs)}`);
  if (promptTokens !== undefined) parts.push(`prompt ${count(promptTokens, "token")}, ${cachedTokens.toLocaleString("en")} cached`);
  return [...parts, ...(model ? [model] : [])].join(" · ");
}

/** One answer on the page, while it grows and afterwards. */
export class Answer {
  #thoughts;
  #summary;
  #markdown;
  #tokens;
  #thinkingSince;
  #shown = 0;
  element;

  constructor(node, asTokens) {
    this.node = node;
    this.element = element("div", { className: "text" });
    this.#summary = element("summary");
    const thought = element("div", { className: "thought", dir: "auto" });
    this.#thoughts = element("details", { className: "thoughts", hidden: true }, this.#summary, thought);
    const body = element("div", { className: "markdown" });
    this.#markdown = new Markdown(body);
    this.element.append(this.#thoughts, body);
    if (asTokens) {
      this.#tokens = tokenBox();
      body.hidden = true;
      this.element.append(this.#tokens);
    }
  }

  /** Shows the present content. `complete` is false while more follows. */
  update(complete = true) {
    const { node } = this;
    if (this.#tokens) {
      const { tokens = [] } = node;
      this.#tokens.append(...tokens.slice(this.#shown).map(tokenSpan));
      this.#shown = tokens.length;
      return;
    }
    const { thoughts, answer, open } = split(node.content, node.thinking);
    if (thoughts || open) {
      this.#thoughts.hidden = false;
      this.#thoughts.lastChild.textContent = thoughts;
      if (open && !complete) this.#thinkingSince ??= performance.now();
      else if (this.#thinkingSince && !node.thinkingMs) node.thinkingMs = performance.now() - this.#thinkingSince;
      this.#summary.textContent = open && !complete ? "Thinking…" : node.thinkingMs ? `Thought for ${duration(node.thinkingMs)}` : "Thoughts";
    }
    this.#markdown.update(answer, complete);
  }
}

/** The list of messages. `on` holds the actions: `edit`, `regenerate`, `step` and `proceed`. */
export class View {
  #on;
  /** Elements by message, which are kept while messages stay: `{ node, turn, answer, asTokens }`. */
  #turns = new Map();

  constructor(on) {
    this.#on = on;
  }

  /** Shows these messages of a conversation. The last one is being answered if `busy`. */
  draw(conversation, nodes, { busy = false, probabilities = false } = {}) {
    const turns = nodes.map((node, i) => this.#turn(conversation, node, { busy, probabilities, last: i + 1 === nodes.length }));
    const shown = [...$("turns").children];
    if (turns.length !== shown.length || turns.some(({ turn }, i) => turn !== shown[i])) $("turns").replaceChildren(...turns.map(({ turn }) => turn));
    this.#turns = new Map(turns.map((made) => [made.node.id, made]));
  }

  /** Returns the `Answer` of a message, or `undefined` if it is not shown. */
  answer(node) {
    const made = this.#turns.get(node.id);
    return made?.node === node ? made.answer : undefined;
  }

  #turn(conversation, node, { busy, probabilities, last }) {
    const running = busy && last && node.role === "assistant";
    const asTokens = probabilities && node.tokens !== undefined;
    const old = this.#turns.get(node.id);
    const made = old?.node === node && old.asTokens === asTokens && !old.turn.querySelector(".editing") ? old : this.#made(node, asTokens);
    made.answer?.update(!running);
    made.turn.classList.toggle("running", running);
    made.turn.replaceChildren(made.turn.firstChild, ...(running ? [] : this.#foot(conversation, node, { busy, last })));
    return made;
  }

  #made(node, asTokens) {
    const user = node.role === "user";
    const answer = user ? undefined : new Answer(node, asTokens);
    const body = answer?.element ?? element("div", { className: "text said", dir: "auto", textContent: node.content });
    const turn = element("article", { className: `turn ${node.role}`, ariaLabel: user ? "You" : "Assistant", data: { id: node.id } }, body);
    return { node, turn, answer, asTokens };
  }

  #foot(conversation, node, { busy, last }) {
    const user = node.role === "user";
    const foot = element("div", { className: "foot" });
    const all = siblings(conversation, node);
    if (all.length > 1) {
      const at = all.indexOf(node.id);
      const back = button("‹", () => this.#on.step(node, -1), { description: "Previous version", disabled: busy || at === 0 });
      const on = button("›", () => this.#on.step(node, 1), { description: "Next version", disabled: busy || at + 1 === all.length });
      foot.append(element("span", { className: "versions" }, back, element("span", { textContent: `${at + 1}/${all.length}` }), on));
    }
    const copying = button("Copy", () => copy(split(node.content, node.thinking).answer || node.content, copying), {
      description: user ? "Copy this message" : "Copy this answer",
    });
    foot.append(copying);
    if (user) foot.append(button("Edit", () => this.#on.edit(node), { description: "Edit this message", disabled: busy }));
    else foot.append(button("Regenerate", () => this.#on.regenerate(node), { disabled: busy }));
    if (!user && node.statistics) foot.append(element("span", { className: "statistics", textContent: statistics(node.statistics) }));
    const finish = node.finish ?? "lost";
    if (user || !ENDED[finish]) return [foot];
    const ended = element("p", { className: `ended ${finish}` }, element("span", { textContent: node.error ?? ENDED[finish] }));
    if (finish === "error" || !node.content) ended.append(button("Try again", () => this.#on.regenerate(node), { disabled: busy }));
    else if (last && finish !== "context") ended.append(button("Continue", () => this.#on.proceed(node), { description: "Continue this answer", disabled: busy }));
    return [ended, foot];
  }

  /** Replaces the text of a message by a field to edit it. */
  edit(node, done) {
    const { turn } = this.#turns.get(node.id);
    const field = element("textarea", { value: node.content, ariaLabel: "Edit the message", dir: "auto" });
    const form = element("form", { className: "editing" }, field);
    const cancel = () => done(undefined);
    form.append(element("div", { className: "row" }, button("Cancel", cancel), button("Send", undefined, { type: "submit", className: "primary" })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) done(field.value.trim());
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    turn.replaceChildren(form);
    field.style.height = `${Math.min(MOST_EDITED, field.scrollHeight + 4)}px`;
    field.focus();
  }
}
