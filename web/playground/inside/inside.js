// "Look inside": the KV cache, its forks, states of layers, latents, and the time of each op.

import { $, described, element } from "../lib/dom.js";
import { count, size } from "../lib/format.js";
import { means } from "./coprocessor.js";
import * as layers from "./layers.js";
import { drawProfile } from "./profile.js";
import { drawSegments, prefillSummary } from "./segments.js";

/** Text to profile if the chat is empty. */
const SAMPLE = "The quick brown fox jumps over the lazy dog. ".repeat(6);

export class Inside {
  #host;
  #chat;
  #profiling;
  /** Counts of the last turn, for the colours. */
  #found = {};

  constructor(host, chat) {
    [this.#host, this.#chat] = [host, chat];
    $("inside-button").addEventListener("click", () => this.show($("inside").hidden));
    $("inside-close").addEventListener("click", () => this.show(false));
    $("inside").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || chat.busy) return;
      event.stopPropagation();
      this.show(false);
    });
    $("profile").addEventListener("click", () => (this.#profiling ? this.#profiling.abort() : this.#profile()));
  }

  get profiling() {
    return Boolean(this.#profiling);
  }

  show(shown) {
    const focused = $("inside").contains(document.activeElement);
    $("inside").hidden = !shown;
    document.body.classList.toggle("with-inside", shown);
    $("inside-button").setAttribute("aria-expanded", String(shown));
    if (shown) {
      $("inside-close").focus();
      this.#refresh();
    } else if (focused) $("inside-button").focus();
  }

  /** Shows another model, or none. */
  watch() {
    const { model, kv } = this.#host;
    this.#profiling?.abort();
    this.#found = {};
    $("inside-empty").hidden = Boolean(model);
    $("inside-all").hidden = !model;
    for (const id of ["profiles", "profile-state", "saved"]) $(id).replaceChildren();
    $("profile-error").hidden = true;
    layers.watch(model, kv?.session);
    this.#refresh();
  }

  /** Inserts latents before the answer, if any are asked for, and shows the prompt. */
  async before(found, { signal }) {
    const { kv, model } = this.#host;
    this.#found = found;
    $("saved").textContent = prefillSummary(found, found.readMs / 1000);
    layers.move(kv.session);
    layers.forget(found.cachedTokens);
    const latents = Math.min($("latents").valueAsNumber || 0, 64);
    if (latents >= 1) {
      $("speed").textContent = "Computing latents…";
      const { spliced, reason } = await kv.session.augment(means(model), { latents, signal });
      if (signal.aborted) return;
      $("saved").textContent += spliced ? " Latents were inserted before the answer." : ` No latents: ${reason}.`;
    }
    this.#segments();
    await this.token();
  }

  /** Updates states of layers after a token, if they are visible. */
  async token() {
    if (layers.follows()) await layers.look();
  }

  after() {
    this.#refresh();
  }

  #refresh() {
    if ($("inside").hidden || !this.#host.model) return;
    this.#segments();
    this.#branches();
    this.#facts();
    layers.look();
  }

  async #segments() {
    const { kv } = this.#host;
    const session = kv?.session;
    // The model may have been disposed of meanwhile.
    const segments = await session?.segments().catch(() => undefined);
    if (segments && session === this.#host.kv?.session) drawSegments($("strip"), $("segments"), segments, { context: kv.context, ...this.#found });
  }

  async #branches() {
    const branches = (await this.#host.kv.branches().catch(() => undefined)) ?? [];
    const words = ({ tokens, shared }, i) =>
      i === 0 ? `This branch: ${count(tokens, "token")}` : `Branch ${i + 1}: ${count(tokens, "token")}, ${shared.toLocaleString("en")} shared with this one`;
    $("forks").replaceChildren(...branches.map((branch, i) => element("li", { textContent: words(branch, i) })));
  }

  async #facts() {
    const { model, entry } = this.#host;
    const stats = await model.stats().catch(() => undefined);
    if (!stats || model !== this.#host.model) return;
    const kinds = Object.entries(Object.groupBy?.(model.layers, ({ kind }) => kind) ?? {}).map(([kind, all]) => `${all.length} ${kind}`);
    const facts = {
      Model: entry.name,
      Family: model.architecture,
      Layers: kinds.join(", ") || String(model.layers.length),
      Device: model.device,
      "Weights": size(entry.bytes),
      "Memory now": `${size(stats.bytes)}, at most ${size(stats.peakBytes)}`,
      "Trained context": count(model.context, "token"),
      "Load time": `${entry.seconds.toFixed(1)} s`,
    };
    const row = ([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }));
    $("facts").replaceChildren(...Object.entries(facts).map(row));
  }

  async #profile() {
    if (this.#chat.busy) return;
    const mine = new AbortController();
    this.#profiling = mine;
    $("profile-error").hidden = true;
    $("profiles").replaceChildren();
    $("profile-state").textContent = "Profiling…";
    $("profile").textContent = "Stop profiling";
    try {
      const found = await this.#host.model.profile({ prompt: this.#chat.prompt() ?? SAMPLE, signal: mine.signal });
      if (this.#profiling !== mine) return;
      drawProfile($("profiles"), found);
      const clock = found.clock === "device" ? "GPU timestamps" : "the CPU clock";
      $("profile-state").textContent = `Times are sums over many runs, from ${clock}, which the browser rounds.`;
    } catch (error) {
      if (this.#profiling === mine) $("profile-state").textContent = "";
      if (error.code !== "cancelled" && error.code !== "closed") {
        $("profile-error").textContent = described(error);
        $("profile-error").hidden = false;
      }
    } finally {
      if (this.#profiling === mine) {
        this.#profiling = undefined;
        $("profile").textContent = "Profile ops";
      }
    }
  }
}
