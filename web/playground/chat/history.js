// The list of kept conversations, with export and import.

import { $, button, download, element, notice } from "../lib/dom.js";
import * as store from "./store.js";
import { fromJson, toJson, toMarkdown } from "./tree.js";

/** Returns the name of an exported file: the title without characters that file systems forbid. */
const fileName = ({ title }, ending) => `${(title || "conversation").replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 40) || "conversation"}.${ending}`;

export class History {
  #chat;
  #all = [];
  #failed = false;
  #saving = new Map();
  /** Ids of deleted conversations. One that is still being answered is not kept again when its answer ends. */
  #deleted = new Set();

  /** `open(conversation)` shows a conversation, or a new one without an argument. */
  constructor(chat, open) {
    this.#chat = chat;
    this.open = open;
    $("new-chat").addEventListener("click", () => open());
    $("import").addEventListener("change", async ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file) await this.#import(file);
    });
    for (const [id, shown] of [["history-button", true], ["history-close", false]]) $(id).addEventListener("click", () => this.show(shown));
    $("history").addEventListener("keydown", (event) => event.key === "Escape" && this.show(false));
  }

  /** Shows or hides the list on narrow screens, where it covers the chat. */
  show(shown) {
    const was = $("history").classList.contains("open");
    $("history").classList.toggle("open", shown);
    $("history-button").setAttribute("aria-expanded", String(shown));
    if (shown) $("new-chat").focus();
    else if (was) $("history-button").focus();
  }

  /** Reads the kept conversations. */
  async read() {
    this.#all = await store.list().catch((error) => this.#fail(error));
    this.draw();
    return this.#all;
  }

  /** Keeps a conversation, and lists it first. */
  save(conversation) {
    if (Object.keys(conversation.nodes).length === 0 || this.#deleted.has(conversation.id)) return;
    this.#all = [conversation, ...this.#all.filter(({ id }) => id !== conversation.id)];
    this.draw();
    this.write(conversation);
  }

  /** Writes a conversation. Changes within a moment are written together. */
  write(conversation) {
    if (this.#deleted.has(conversation.id)) return;
    clearTimeout(this.#saving.get(conversation.id));
    this.#saving.set(conversation.id, setTimeout(() => store.put(conversation).catch((error) => this.#fail(error)), 200));
  }

  #fail(error) {
    if (!this.#failed) notice(`Conversations are not kept: ${error.message}`, { bad: true });
    this.#failed = true;
    return [];
  }

  async #import(file) {
    try {
      const conversation = fromJson(await file.text());
      this.save(conversation);
      this.open(conversation);
    } catch (error) {
      notice(`${file.name} was not imported: ${error.message}`, { bad: true });
    }
  }

  #delete(conversation) {
    clearTimeout(this.#saving.get(conversation.id));
    this.#deleted.add(conversation.id);
    this.#all = this.#all.filter(({ id }) => id !== conversation.id);
    store.drop(conversation.id).catch((error) => this.#fail(error));
    if (this.#chat.conversation.id === conversation.id) this.open();
    this.draw();
    const undo = button("Undo", () => {
      notice();
      this.#deleted.delete(conversation.id);
      this.save(conversation);
    });
    notice(`“${conversation.title}” was deleted.`, { actions: [undo] });
  }

  draw() {
    $("conversations").replaceChildren(...this.#all.map((conversation) => this.#item(conversation)));
  }

  #item(conversation) {
    const { id, title } = conversation;
    const now = id === this.#chat.conversation.id;
    const name = title || "Conversation";
    const choose = button(name, () => this.open(conversation), { className: "conversation", dir: "auto" });
    if (now) choose.setAttribute("aria-current", "true");
    const more = element("details", { className: "menu" }, element("summary", { textContent: "⋯", ariaLabel: `More about ${name}` }));
    const actions = [
      ["Export as Markdown", () => download(fileName(conversation, "md"), "text/markdown", toMarkdown(conversation))],
      ["Export as JSON", () => download(fileName(conversation, "json"), "application/json", toJson(conversation))],
      ["Delete", () => this.#delete(conversation)],
    ];
    const act = (action) => () => {
      more.open = false;
      action();
    };
    more.append(element("div", { className: "menu-items" }, ...actions.map(([label, action]) => button(label, act(action), { description: `${label}: ${name}` }))));
    more.addEventListener("focusout", ({ relatedTarget }) => {
      if (!more.contains(relatedTarget)) more.open = false;
    });
    more.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      more.open = false;
      more.firstChild.focus();
    });
    return element("li", {}, choose, more);
  }
}
