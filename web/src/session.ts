/** Sessions: texts in the KV cache that grow, roll back, fork and are saved. */

import { type Answer, answering, type Begin, type GenerateOptions, idsOf, type Link, pieces, type Prompt, type Token, tokens } from "./answer.js";
import { type Abortable, abortable, FoveateError, throwIfAborted } from "./error.js";
import type { DeltaState, RoutingState } from "./layers.js";
import type { Segment, SessionSettings, SplicePolicy, TemplateOptions, View } from "./methods.js";

/** Options of {@link Model.session} and {@link Model.restore}. */
export interface SessionOptions {
  /** Capacity of the session in tokens. Default: 1024, or the model's context length if that is smaller. */
  readonly context?: number;
  /**
   * Capacity of the block pool that the session shares with its forks, in tokens. Default: `context + 256`. Shared blocks
   * count once. A fork copies the block of 64 tokens that it first writes to.
   */
  readonly pool?: number;
  /** Format of keys and values: `f32` by default. */
  readonly kv?: "f32" | "f16" | "q8_0";
  readonly signal?: AbortSignal;
}

/**
 * Keys and values of a layer, `[tokens, heads, dim]`. There is a row for each token in the cache; in a layer with a
 * sliding window, only for the tokens that the next token attends to.
 */
export interface LayerView {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Contents of a session, as a coprocessor gets them. */
export interface SessionView {
  /** Token ids in the cache. Latents have the id 4294967295. */
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** Keys and values of each layer that has them. */
  readonly layers: readonly LayerView[];
  /** Elements of a latent: the hidden size of the model. */
  readonly width: number;
  /** Maximum number of latents. */
  readonly latents: number;
  /** Aborted if the latents are no longer needed. */
  readonly signal: AbortSignal;
}

/**
 * Computes latents from the contents of a session: rows of `width` numbers that replace embeddings in front of the first
 * layer. Returns `null` for no latents.
 */
export type Coprocessor = (view: SessionView) => Promise<Float32Array | null | undefined>;

/** Options of {@link Session.augment}. */
export interface AugmentOptions {
  /** Maximum number of latents: 16 by default. */
  readonly latents?: number;
  /**
   * Place of the latents if the session has grown meanwhile. `tail`, the default, appends them after the tokens read by
   * then. `snapshot` inserts them where they were requested, and reads the later tokens again. `drop` discards them.
   */
  readonly policy?: SplicePolicy;
  /** Discards latents that are not ready when the signal is aborted, for example by `AbortSignal.timeout(ms)`. */
  readonly signal?: AbortSignal;
}

/** Result of {@link Session.augment}: latents were spliced in, or the reason that they were not. */
export type Augmented = { readonly spliced: true } | { readonly spliced: false; readonly reason: string };

const NEVER = new AbortController().signal;

/** A text in the KV cache. Its calls run one after the other. */
export class Session {
  readonly #link: Link;
  readonly #number: number;
  /** Capacity in tokens. */
  readonly context: number;

  private constructor(link: Link, number: number, context: number) {
    this.#link = link;
    this.#number = number;
    this.context = context;
  }

  /** @internal Handle of the session in the engine. */
  get handle(): number {
    return this.#number;
  }

  /** @internal */
  static async open(link: Link, most: number, options: SessionOptions, saved?: Blob): Promise<Session> {
    const { context = Math.min(most, 1024), pool = context + 256, kv = "f32", signal } = options;
    for (const [name, tokens] of Object.entries({ context, pool })) {
      if (!Number.isInteger(tokens) || tokens < 1 || tokens > 0xffff_ffff) {
        throw new FoveateError("config", `${name} must be a whole number of at least 1, got ${tokens}`);
      }
    }
    const settings: SessionSettings = { context, pool, kv };
    return new Session(link, await link.engine.call("session", [settings, saved], { signal }), context);
  }

  /**
   * Appends a text, a conversation or token ids, and returns the new length. Only the first text of a session gets the
   * special tokens that the model expects around a text.
   *
   * @throws {FoveateError} If it throws, the session is unchanged.
   */
  async append(prompt: Prompt, { signal, ...options }: TemplateOptions & Abortable = {}): Promise<number> {
    throwIfAborted(signal);
    const first = typeof prompt === "string" && (await this.tokens()).length === 0;
    const ids = await idsOf(this.#link, prompt, first, options);
    return this.#link.engine.call("append", [this.#number, ids], { signal });
  }

  /**
   * Replaces the contents of the session with a text, a conversation or token ids. Tokens of the longest common prefix
   * stay in the cache and are not read again: `cachedTokens` of `promptTokens`.
   *
   * @throws {FoveateError}
   */
  async rewrite(prompt: Prompt, options: TemplateOptions & Abortable = {}): Promise<{ promptTokens: number; cachedTokens: number }> {
    throwIfAborted(options.signal);
    const ids = await idsOf(this.#link, prompt, true, options);
    const { signal } = options;
    const cachedTokens = await this.#link.engine.call("rewrite", [this.#number, ids], { signal });
    return { promptTokens: ids.length, cachedTokens };
  }

  /**
   * Continues the text, as pieces of whole characters. Generated tokens become part of the session.
   *
   * @throws {FoveateError}
   */
  generate(options: GenerateOptions = {}): Answer<string> {
    return answering(this.#link, this.#begin, options, pieces);
  }

  /**
   * Continues the text, as tokens. Generated tokens become part of the session.
   *
   * @throws {FoveateError}
   */
  generateTokens(options: GenerateOptions = {}): Answer<Token> {
    return answering(this.#link, this.#begin, options, tokens);
  }

  readonly #begin: Begin = (asked) => this.#link.engine.call("answer", [this.#number, asked]);

  /** Returns all token ids. Latents have the id 4294967295. */
  tokens({ signal }: Abortable = {}): Promise<Uint32Array> {
    return this.#link.engine.call("tokens", [this.#number], { signal });
  }

  /** Returns the segments of the session in order: runs of text, latents and other rows. */
  segments({ signal }: Abortable = {}): Promise<readonly Segment[]> {
    return this.#link.engine.call("segments", [this.#number], { signal });
  }

  /**
   * Returns the state of a delta-rule or routing layer, counted from 0. The last token is not part of it, because it is
   * read at the next step. `model.layers` lists the kind of each layer.
   *
   * @throws {FoveateError} of code `config` if the layer is an attention layer, which has keys and values but no state.
   */
  state(layer: number, { signal }: Abortable = {}): Promise<DeltaState | RoutingState> {
    return this.#link.engine.call("state", [this.#number, layer], { signal });
  }

  /** Takes a snapshot, to roll back to or to fork from. It copies nothing. */
  async snapshot({ signal }: Abortable = {}): Promise<Snapshot> {
    throwIfAborted(signal);
    const { number, length } = await this.#link.engine.call("snapshot", [this.#number]);
    return new Snapshot(this.#link, number, length);
  }

  /**
   * Opens a second session that continues from here, or from a snapshot. Both share the blocks of the common text.
   *
   * @throws {FoveateError}
   */
  async fork(from?: Snapshot, { signal }: Abortable = {}): Promise<Session> {
    throwIfAborted(signal);
    const snapshot = from ?? (await this.snapshot());
    try {
      const number = await this.#link.engine.call("fork", [this.#number, snapshot.number]);
      return new Session(this.#link, number, this.context);
    } finally {
      if (!from) snapshot.dispose();
    }
  }

  /**
   * Drops the tokens after a length, or goes back to a snapshot.
   *
   * @throws {FoveateError} of code `rollback` if the session was never that long; then it is unchanged.
   */
  async rollback(to: number | Snapshot, { signal }: Abortable = {}): Promise<void> {
    throwIfAborted(signal);
    const { engine } = this.#link;
    if (to instanceof Snapshot) return engine.call("rollback", [this.#number, to.length, to.number]);
    if (Number.isInteger(to) && to >= 0) return engine.call("rollback", [this.#number, to]);
    throw new FoveateError("config", `rollback takes a snapshot or a length, a whole number of at least 0; got ${to}`);
  }

  /**
   * Runs a coprocessor on the contents of the session, and splices its latents in before the last token. Decoding continues
   * meanwhile. If the coprocessor fails, is late or returns nothing, the latents are dropped and the session is unchanged.
   */
  async augment(coprocessor: Coprocessor, options: AugmentOptions = {}): Promise<Augmented> {
    const { latents = 16, policy = "tail", signal = NEVER } = options;
    const { engine } = this.#link;
    let begun: number | undefined;
    try {
      const { number, view } = await engine.call("augment", [this.#number, latents]);
      begun = number;
      throwIfAborted(signal);
      const made = await abortable(coprocessor({ ...seen(view), latents, signal }), signal);
      if (!made) return { spliced: false, reason: "the coprocessor returned no latents" };
      const dropped = await engine.call("splice", [this.#number, begun, made, policy]);
      return dropped === undefined ? { spliced: true } : { spliced: false, reason: dropped };
    } catch (error) {
      return { spliced: false, reason: error instanceof Error ? error.message : String(error) };
    } finally {
      if (begun !== undefined) engine.call("end", [begun]).catch(() => {});
    }
  }

  /**
   * Saves the session to a file, for {@link Model.restore} with the same model.
   *
   * @throws {FoveateError}
   */
  save({ signal }: Abortable = {}): Promise<Blob> {
    return this.#link.engine.call("save", [this.#number], { signal });
  }

  /** Frees the session. Blocks shared with other sessions and snapshots stay. */
  dispose(): void {
    this.#link.engine.call("end", [this.#number]).catch(() => {});
  }
}

/** A session at one length. It keeps the blocks that it shares with the session until it is disposed of. */
export class Snapshot {
  readonly #link: Link;
  /** @internal */
  readonly number: number;
  /** Length of the session in tokens when the snapshot was taken. */
  readonly length: number;

  /** @internal */
  constructor(link: Link, number: number, length: number) {
    this.#link = link;
    this.number = number;
    this.length = length;
  }

  /** Frees the snapshot. */
  dispose(): void {
    this.#link.engine.call("end", [this.number]).catch(() => {});
  }
}

function seen({ layers: sides, tokens, positions, width }: View): Omit<SessionView, "latents" | "signal"> {
  const layers: LayerView[] = [];
  for (let i = 0; i + 1 < sides.length; i += 2) {
    layers.push({ keys: sides[i] as Float32Array, values: sides[i + 1] as Float32Array });
  }
  return { tokens, positions, layers, width };
}
