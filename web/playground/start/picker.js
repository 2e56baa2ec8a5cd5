// The choice of a model: cards, models downloaded earlier, and models of the user's own.

import { cache } from "foveate";
import { $, button, element, described } from "../lib/dom.js";
import { rate, size } from "../lib/format.js";
import { addressOf, MODELS, nameOf } from "./catalog.js";
import { expected } from "./speed.js";

/** The model hub, or the mirror that the address of the page names. */
export const HUB = (new URLSearchParams(location.search).get("hub") ?? "https://huggingface.co").replace(/\/$/, "");

const absolute = (address) => new URL(address, document.baseURI).href;

/** Returns the entry of an address as people type it. */
export function entryOf(typed) {
  const known = MODELS.find(({ id, source }) => typed === id || typed === source);
  if (known) return { ...known, source: absolute(addressOf(known.source, HUB)) };
  const source = addressOf(typed, HUB);
  return { id: source, name: nameOf(source), source };
}

/** Returns the entry of chosen files. */
export function entryOfFiles(files) {
  const [first] = files;
  const folder = first.webkitRelativePath?.split("/")[0];
  return { id: first.name, name: folder || nameOf(first.name), source: files.length === 1 ? first : files, local: true };
}

export class Picker {
  #open;
  #host;

  /** `open(entry)` is called with the chosen model. */
  constructor(host, open) {
    [this.#host, this.#open] = [host, open];
    $("own-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const typed = $("address").value.trim();
      if (typed) open(entryOf(typed));
      else $("address").focus();
    });
    for (const id of ["file", "folder"]) {
      $(id).addEventListener("change", ({ target }) => {
        const files = [...target.files];
        if (files.length > 0) open(entryOfFiles(files));
        target.value = "";
      });
    }
    this.#dropping();
  }

  /** Shows an error below the cards, or none. */
  fail(error) {
    $("load-error").textContent = error ? described(error) : "";
    $("load-error").hidden = !error;
    if (error && !$("own").open && this.#host.model === undefined) $("load-error").scrollIntoView({ block: "nearest" });
  }

  /** Lists the models, those downloaded here first. */
  async draw() {
    const stored = await cache.list().catch(() => []);
    const storedBy = new Map(stored.map((model) => [model.source, model]));
    const offered = MODELS.map(({ id }) => entryOf(id));
    const sources = new Set(offered.map(({ source }) => source));
    const own = stored.filter(({ source, totalBytes }) => !sources.has(source) && totalBytes > 0);
    const others = own.map(({ source, totalBytes }) => ({ id: source, name: nameOf(source), source, bytes: totalBytes, about: source }));
    const all = [...offered, ...others].sort((a, b) => Number(storedBy.has(b.source)) - Number(storedBy.has(a.source)));
    $("models").replaceChildren(...all.map((entry) => this.#card(entry, storedBy.get(entry.source))));
  }

  #card(entry, stored) {
    const { name, about, licence, bytes } = entry;
    const now = this.#host.entry?.source === entry.source;
    const loading = this.#host.loading?.source === entry.source;
    const speed = element("span", { className: "speed" });
    expected(entry).then((found) => {
      const text = found ? rate(found.perSecond) : "speed not known";
      speed.textContent = found?.estimated ? `≈ ${text}` : text;
    });
    const total = size(stored?.totalBytes || bytes);
    const state = stored?.complete ? `${total}, downloaded` : stored?.cachedBytes > 0 ? `${size(stored.cachedBytes)} of ${total}` : total;
    const facts = [state, licence].filter(Boolean).join(" · ");
    const label = now ? "Loaded" : loading ? "Loading…" : stored?.complete ? "Load" : stored ? "Resume" : "Download once";
    const choose = button(label, () => this.#open(entry), { description: `${label}: ${name}`, className: "primary", disabled: now || loading });
    const actions = [choose];
    if (stored) actions.push(button("Delete", () => this.#delete(entry), { description: `Delete: ${name}`, className: "small" }));
    return element(
      "li",
      { className: "model" },
      element("div", { className: "model-head" }, element("h3", { textContent: name }), speed),
      element("p", { className: "about", textContent: about ?? "" }),
      element("p", { className: "model-facts", textContent: facts }),
      element("div", { className: "model-foot" }, ...actions),
    );
  }

  async #delete({ source }) {
    await cache.delete(source).catch((error) => this.fail(error));
    await this.draw();
    $("models").querySelector("button:not(:disabled)")?.focus();
  }

  #dropping() {
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("target");
    });
    addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("target"));
    addEventListener("drop", async (event) => {
      event.preventDefault();
      document.body.classList.remove("target");
      const files = [...event.dataTransfer.files];
      const [item] = event.dataTransfer.items;
      const handle = files.length < 2 ? await item?.getAsFileSystemHandle?.() : undefined;
      if (handle?.kind === "directory") this.#open({ id: handle.name, name: handle.name, source: handle, local: true });
      else if (files.length > 0) this.#open(entryOfFiles(files));
    });
  }
}
