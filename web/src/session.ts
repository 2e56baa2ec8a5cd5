/** Texts that stay in the cache while they grow: read once, gone back in, forked, augmented and kept. */

import { type End, type GenerateOptions, idsOf, type Link, pieces, type Prompt, type Token, tokens } from "./answer.js";
import { type Abortable, abortable, FoveateError, throwIfAborted } from "./error.js";
import type { DeltaState, RoutingState } from "./layers.js";
import type { Policy, Segment, SessionSettings, TemplateOptions, View } from "./methods.js";

export interface SessionOptions {
  /** Tokens that the session has room for: at most what the model was made for, and 1024 by default. */
  readonly context?: number;
  /**
   * Tokens that the session and its forks have room for together, `context` and 256 more by default. What they share counts
   * once, but for the page of 64 tokens in which a fork begins to write.
   */
  readonly pool?: number;
  /** How keys and values are kept: `f32` by default. */
  readonly kv?: "f32" | "f16" | "q8_0";
  readonly signal?: AbortSignal;
}

/**
 * Keys and values of a layer that has them, `[tokens, heads, dim]`: a row for each token that was read, or in a layer that
 * sees a window, for each of the last tokens that the next one sees.
 */
export interface LayerView {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** What a coprocessor sees of a session. */
export interface SessionView {
  /** Every token that was read, with 4294967295 where a latent stands. */
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  readonly layers: readonly LayerView[];
  /** Elements of a latent. */
  readonly width: number;
  /** Latents that were asked for at most. */
  readonly latents: number;
  /** Says that nobody waits any more. */
  readonly signal: AbortSignal;
}

/**
 * Reads a session and gives latents, rows of `width` numbers which the first layer gets in the place of embeddings; or
 * nothing.
 */
export type Coprocessor = (view: SessionView) => Promise<Float32Array | null | undefined>;

export interface AugmentOptions {
  /** Latents at most, 16 by default. */
  readonly latents?: number;
  /**
   * Where latents go if the session went on meanwhile: `tail`, the default, behind what was read by then; `snapshot` where
   * they were asked for, so that what came after is read again behind them; `drop` nowhere.
   */
  readonly at?: Policy;
  /** Drops the latents that are not there yet: of `AbortSignal.timeout(ms)`, what comes too late. */
  readonly signal?: AbortSignal;
}

/** What became of latents. */
export type Augmented = { readonly spliced: true } | { readonly spliced: false; readonly reason: string };

const NEVER = new AbortController().signal;

/** A text in the cache. Its calls take place one after the other. */
export class Session {
  readonly #link: Link;
  readonly #number: number;
  /** Tokens that it has room for. */
  readonly context: number;

  private constructor(link: Link, number: number, context: number) {
    this.#link = link;
    this.#number = number;
    this.context = context;
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
   * Reads a text, a conversation or ids behind what is there, and gives the session's length then. A text is taken as it
   * is, without the tokens that models expect around one, unless it is the first.
   *
   * @throws {FoveateError}; then nothing was read.
   */
  async append(prompt: Prompt, { signal, ...options }: TemplateOptions & Abortable = {}): Promise<number> {
    throwIfAborted(signal);
    const first = typeof prompt === "string" && (await this.tokens()).length === 0;
    const ids = await idsOf(this.#link, prompt, first, options);
    return this.#link.engine.call("append", [this.#number, ids], { signal });
  }

  /**
   * Makes the session hold a text, a conversation or ids, and nothing else. Of what it held already nothing is read again:
   * `kept` tokens of `of`.
   *
   * @throws {FoveateError}
   */
  async rewrite(prompt: Prompt, options: TemplateOptions & Abortable = {}): Promise<{ kept: number; of: number }> {
    throwIfAborted(options.signal);
    const [ids, held] = await Promise.all([idsOf(this.#link, prompt, true, options), this.tokens()]);
    const differs = ids.findIndex((id, i) => id !== held[i]);
    const kept = differs < 0 ? ids.length : differs;
    await this.rollback(kept, options);
    await this.append(ids.subarray(kept), options);
    return { kept, of: ids.length };
  }

  /**
   * What the model goes on with, in pieces of whole characters: it becomes a part of the session as it is made.
   *
   * @throws {FoveateError}
   */
  generate(options: GenerateOptions = {}): AsyncGenerator<string, End, void> {
    return pieces(this.#link, (options) => this.#link.engine.call("answer", [this.#number, options]), options);
  }

  /**
   * The same as tokens.
   *
   * @throws {FoveateError}
   */
  generateTokens(options: GenerateOptions = {}): AsyncGenerator<Token, End, void> {
    return tokens(this.#link, (options) => this.#link.engine.call("answer", [this.#number, options]), options);
  }

  /** Every token, with 4294967295 where a latent stands. */
  tokens({ signal }: Abortable = {}): Promise<Uint32Array> {
    return this.#link.engine.call("tokens", [this.#number], { signal });
  }

  /** What it is made of, in order: the text, and what stands in it that is none. */
  segments({ signal }: Abortable = {}): Promise<readonly Segment[]> {
    return this.#link.engine.call("segments", [this.#number], { signal });
  }

  /**
   * What a layer, counted from 0, remembers of the tokens that it has read; the last one is read with the next step. Layers
   * of attention remember nothing but keys and values: `model.layers` says what each is.
   *
   * @throws {FoveateError} of code `config` for a layer that has no state.
   */
  state(layer: number, { signal }: Abortable = {}): Promise<DeltaState | RoutingState> {
    return this.#link.engine.call("state", [this.#number, layer], { signal });
  }

  /** Keeps the session as it is, at no cost: to go back to, or to fork from. */
  async snapshot({ signal }: Abortable = {}): Promise<Snapshot> {
    throwIfAborted(signal);
    const { number, length } = await this.#link.engine.call("snapshot", [this.#number]);
    return new Snapshot(this.#link, number, length);
  }

  /**
   * A second session that goes on from here, or from a snapshot. Both share what was read.
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
   * Forgets the tokens behind a length, or goes back to a snapshot.
   *
   * @throws {FoveateError} for a length that it never had; then nothing has changed.
   */
  async rollback(to: number | Snapshot, { signal }: Abortable = {}): Promise<void> {
    throwIfAborted(signal);
    const { engine } = this.#link;
    if (to instanceof Snapshot) return engine.call("rollback", [this.#number, to.length, to.number]);
    if (Number.isInteger(to) && to >= 0) return engine.call("rollback", [this.#number, to]);
    throw new FoveateError("config", `a length must be a whole number, got ${to}`);
  }

  /**
   * Lets a coprocessor read what the session has read, and takes in its latents when they are there; the last token, which
   * is read with the next step, stands behind them. Decoding goes on meanwhile and waits for nothing. Whatever goes wrong,
   * the latents are dropped and the session is as it was.
   */
  async augment(coprocessor: Coprocessor, options: AugmentOptions = {}): Promise<Augmented> {
    const { latents = 16, at = "tail", signal = NEVER } = options;
    const { engine } = this.#link;
    let begun: number | undefined;
    try {
      const { number, view } = await engine.call("augment", [this.#number, latents]);
      begun = number;
      throwIfAborted(signal);
      const made = await abortable(coprocessor({ ...seen(view), latents, signal }), signal);
      if (!made) return { spliced: false, reason: "the coprocessor gave no latents" };
      const dropped = await engine.call("splice", [this.#number, begun, made, at]);
      return dropped === undefined ? { spliced: true } : { spliced: false, reason: dropped };
    } catch (error) {
      return { spliced: false, reason: error instanceof Error ? error.message : String(error) };
    } finally {
      if (begun !== undefined) engine.call("end", [begun]).catch(() => {});
    }
  }

  /**
   * The session as a file, for `restore` of this model, here or elsewhere.
   *
   * @throws {FoveateError}
   */
  save({ signal }: Abortable = {}): Promise<Blob> {
    return this.#link.engine.call("save", [this.#number], { signal });
  }

  /** Frees the session; what it shares with others stays. */
  dispose(): void {
    this.#link.engine.call("end", [this.#number]).catch(() => {});
  }
}

/** A session as it was. It holds what it shares with the session until it is disposed of. */
export class Snapshot {
  readonly #link: Link;
  /** @internal */
  readonly number: number;
  /** Tokens of the session then. */
  readonly length: number;

  /** @internal */
  constructor(link: Link, number: number, length: number) {
    this.#link = link;
    this.number = number;
    this.length = length;
  }

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
