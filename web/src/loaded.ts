/** A model in this thread, with its answers, sessions and snapshots by handle. */

import type { Augmentation, JsOptions, Model as WasmModel, Reading, Session as WasmSession } from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { glue } from "./glue.js";
import { type DeltaState, type Layer, type RoutingState, stateOf } from "./layers.js";
import {
  type Asked,
  type Conversation,
  type Fallback,
  type Finding,
  type Hooks,
  type Message,
  type Profile,
  type Report,
  type Segment,
  type SelfTest,
  type SessionSettings,
  type SplicePolicy,
  type Stats,
  type Step,
  type TemplateInputs,
  type View,
  withoutOldestTurn,
} from "./methods.js";
import { type AnswerObjects, Parts, release } from "./parts.js";
import { asking, settled } from "./pipelines.js";
import { phases } from "./profile.js";
import { Running } from "./running.js";
import { breathe, idsIn, isLoss, type Kept, readAppended, type Sequence } from "./sequence.js";

/** Devices that a model may lose. A driver that loses more probably fails at the work of this library. */
const MOST_DEVICES_LOST = 3;

/** Decodes the result of the self-test, as `Model::trial` in wasm/src/model.rs encodes it. */
function selfTestOf(trial: string | undefined): SelfTest | undefined {
  if (trial === undefined) return undefined;
  const { tried, untried, fallbacks } = JSON.parse(trial) as {
    tried: string[];
    untried: string[];
    fallbacks: { op: string; without: string; detail: string }[];
  };
  const fallback = ({ op, without, detail }: (typeof fallbacks)[number]): Fallback => ({ op, disabled: without, detail });
  return { cases: tried, untestedKernels: untried, fallbacks: fallbacks.map(fallback) };
}

export class Loaded {
  readonly layers: readonly Layer[];
  #model: WasmModel;
  readonly #reload: () => Promise<WasmModel>;
  #recovering: Promise<void> | undefined;
  #devicesLost = 0;
  #freed = false;
  #count = 0;
  readonly #parts = new Parts(() => this.#model);
  readonly #answers = new Map<number, Running>();
  readonly #sequences = new Map<number, Sequence>();
  readonly #snapshots = new Map<number, Kept>();
  readonly #readings = new Map<number, Reading>();
  readonly #augmentations = new Map<number, Augmentation>();

  constructor(model: WasmModel, reload: () => Promise<WasmModel>) {
    this.layers = JSON.parse(model.layers);
    this.#model = model;
    this.#reload = reload;
  }

  free(): void {
    this.#freed = true;
    for (const all of [this.#answers, this.#sequences, this.#snapshots, this.#readings, this.#augmentations]) {
      for (const number of all.keys()) this.end(number);
    }
    this.#parts.free();
    release(this.#model);
  }

  tokenize(text: string, addSpecial: boolean): Uint32Array {
    return this.#model.tokenize(text, addSpecial);
  }

  detokenize(ids: Uint32Array, skipSpecial: boolean): string {
    return this.#model.detokenize(ids, skipSpecial);
  }

  render(messages: readonly Message[], inputs: TemplateInputs): string {
    return this.#model.render(JSON.stringify(messages), JSON.stringify(inputs));
  }

  stats(): Stats {
    return { ...(this.#model.stats() as Omit<Stats, "wasmBytes">), wasmBytes: glue.wasmBytes() };
  }

  /** Reports on the device, and checks the first case of every op. */
  async report(device: string, check: boolean, { signal }: Hooks): Promise<Report> {
    const first = new Map(glue.caseNames().map((name) => [name.split("/")[0], name] as const).reverse());
    const findings: Finding[] = [];
    for (const name of check ? first.values() : []) {
      await breathe();
      throwIfAborted(signal);
      const [found] = JSON.parse(await this.#model.checkCase(name)) as Finding[];
      if (found) findings.push({ ...found, name });
    }
    const { passedOver, trial } = this.#model;
    return { device, fallbackReason: passedOver, devicesLost: this.#devicesLost, selfTest: selfTestOf(trial), findings };
  }

  async begin(ids: Uint32Array, asked: Asked): Promise<number> {
    const guide = await this.#parts.guide(asked.constraint);
    return this.#start(ids, asked, { guide });
  }

  async answer(number: number, asked: Asked): Promise<number> {
    const sequence = this.#find(this.#sequences, number, "session");
    const guide = await this.#parts.guide(asked.constraint);
    return this.#turn(sequence, (session) => {
      return this.#keep(this.#answers, new Running((options) => session.generate(options), sequence, asked, { guide }));
    });
  }

  async converse(
    number: number | undefined,
    { messages, inputs, pinned }: Conversation,
    asked: Asked,
    { signal }: Hooks,
  ): Promise<{ answer: number; forgotten: number }> {
    const sequence = number === undefined ? undefined : this.#find(this.#sequences, number, "session");
    const began = performance.now();
    // An answer gets a quarter of the context, or what was asked for if that is less.
    const context = sequence?.settings.context ?? this.#model.context;
    const most = context - Math.min(Math.floor(context / 4), asked.maxTokens ?? 256);
    let [rest, forgotten] = [messages, 0];
    const tokens = (inputs: string): Uint32Array => {
      for (;;) {
        const ids = this.#model.tokenize(this.#model.render(JSON.stringify(rest), inputs), false);
        const fewer = pinned !== undefined && ids.length > most ? withoutOldestTurn(rest, pinned) : undefined;
        if (!fewer) return ids;
        [rest, forgotten] = [fewer, forgotten + 1];
      }
    };
    const { ids, ...objects } = await this.#parts.begin(inputs, asked, tokens);
    try {
      if (!sequence) return { answer: await this.#start(ids, asked, objects, began), forgotten };
      const answer = await this.#turn(sequence, async (session) => {
        const cached = await this.#read(sequence, session, ids, signal);
        const generate = (options: JsOptions) => session.generate(options);
        return this.#keep(this.#answers, new Running(generate, sequence, asked, objects, { began, cached }));
      });
      return { answer, forgotten };
    } catch (error) {
      release(objects.guide);
      release(objects.exchange);
      throw error;
    }
  }

  async next(number: number): Promise<Step> {
    await breathe();
    const answer = this.#find(this.#answers, number, "answer");
    const step = async (): Promise<Step> => {
      const next = await answer.next((text) => this.#model.tokenize(text, false));
      return { ...next, devicesLost: this.#devicesLost };
    };
    return answer.to instanceof Uint32Array ? this.#lasting(step) : this.#turn(answer.to, step);
  }

  read(ids: Uint32Array, scores: boolean): number {
    return this.#keep(this.#readings, this.#model.read(ids, scores));
  }

  async rows(number: number): Promise<Float64Array> {
    await breathe();
    return this.#find(this.#readings, number, "reading").next();
  }

  async session(settings: SessionSettings, saved: Blob | undefined, { signal }: Hooks): Promise<number> {
    const bytes = saved instanceof Blob ? new Uint8Array(await saved.arrayBuffer()) : undefined;
    return this.#lasting(async () => {
      const session = this.#open(settings);
      try {
        await settled();
        await (bytes && session.restore(bytes));
        throwIfAborted(signal);
        return this.#keep(this.#sequences, { session, settings, ids: idsIn(session), last: Promise.resolve() });
      } catch (error) {
        release(session);
        throw error;
      }
    });
  }

  append(number: number, ids: Uint32Array, { signal }: Hooks): Promise<number> {
    const sequence = this.#find(this.#sequences, number, "session");
    return this.#turn(sequence, async (session) => {
      const { length } = session.tokens();
      session.append(ids);
      await readAppended(session, length, signal);
      for (const id of ids) sequence.ids?.push(id);
      return length + ids.length;
    });
  }

  rewrite(number: number, ids: Uint32Array, { signal }: Hooks): Promise<number> {
    const sequence = this.#find(this.#sequences, number, "session");
    return this.#turn(sequence, (session) => this.#read(sequence, session, ids, signal));
  }

  tokens(number: number): Promise<Uint32Array> {
    return this.#turn(this.#find(this.#sequences, number, "session"), (session) => session.tokens());
  }

  segments(number: number): Promise<Segment[]> {
    return this.#turn(this.#find(this.#sequences, number, "session"), (session) => JSON.parse(session.segments()));
  }

  /** Returns the state of a layer. */
  state(number: number, layer: number): Promise<DeltaState | RoutingState> {
    const sequence = this.#find(this.#sequences, number, "session");
    const there = this.layers[layer];
    return this.#turn(sequence, async (session) => stateOf(there, there && (await session.state(layer))));
  }

  async profile(ids: Uint32Array, tokens: number, { signal }: Hooks): Promise<Profile> {
    const room = ids.length + tokens;
    const session = this.#open({ context: room, pool: room, kv: "f32" });
    const pause = async () => {
      await breathe();
      throwIfAborted(signal);
    };
    try {
      await settled();
      const clock = this.#model.describe().startsWith("gpu") ? "device" : "host";
      return { clock, ...(await phases(session, ids, tokens, pause)) };
    } finally {
      release(session);
    }
  }

  snapshot(number: number): Promise<{ number: number; length: number }> {
    const sequence = this.#find(this.#sequences, number, "session");
    return this.#turn(sequence, (session) => {
      const snapshot = session.snapshot();
      const { length } = snapshot;
      return { number: this.#keep(this.#snapshots, { snapshot, ids: sequence.ids?.slice() }), length };
    });
  }

  fork(number: number, from: number): Promise<number> {
    const sequence = this.#find(this.#sequences, number, "session");
    const { settings } = sequence;
    const kept = this.#find(this.#snapshots, from, "snapshot");
    return this.#turn(sequence, async (session) => {
      const fork = kept.snapshot ? session.fork(kept.snapshot) : await this.#reread(settings, kept.ids);
      return this.#keep(this.#sequences, { session: fork, settings, ids: kept.ids?.slice(), last: Promise.resolve() });
    });
  }

  rollback(number: number, length: number, to?: number): Promise<void> {
    const sequence = this.#find(this.#sequences, number, "session");
    const kept = typeof to === "number" ? this.#find(this.#snapshots, to, "snapshot") : undefined;
    return this.#turn(sequence, async (session) => {
      if (!kept) session.rollback(length);
      else if (kept.snapshot) session.rollbackTo(kept.snapshot);
      else {
        sequence.session = await this.#reread(sequence.settings, kept.ids);
        release(session);
      }
      sequence.ids = idsIn(sequence.session as WasmSession);
    });
  }

  save(number: number): Promise<Blob> {
    return this.#turn(this.#find(this.#sequences, number, "session"), async (session) => {
      return new Blob([(await session.save()) as Uint8Array<ArrayBuffer>]);
    });
  }

  async augment(number: number, latents: number): Promise<{ number: number; view: View }> {
    const sequence = this.#find(this.#sequences, number, "session");
    const augmentation = await this.#turn(sequence, (session) => session.augment(latents));
    const begun = this.#keep(this.#augmentations, augmentation);
    try {
      const view = await augmentation.view();
      const { tokens, positions, layers } = view;
      view.free();
      return { number: begun, view: { tokens, positions, layers, width: augmentation.width } };
    } catch (error) {
      this.end(begun);
      throw error;
    }
  }

  splice(number: number, begun: number, latents: Float32Array, policy: SplicePolicy): Promise<string | undefined> {
    const sequence = this.#find(this.#sequences, number, "session");
    const augmentation = this.#find(this.#augmentations, begun, "augmentation");
    return this.#turn(sequence, async (session) => {
      const dropped = await session.splice(augmentation, latents, policy);
      if (dropped === undefined) sequence.ids = undefined;
      return dropped;
    });
  }

  end(number: number): void {
    this.#answers.get(number)?.free();
    release(this.#sequences.get(number)?.session);
    release(this.#snapshots.get(number)?.snapshot);
    release(this.#readings.get(number) ?? this.#augmentations.get(number));
    for (const all of [this.#answers, this.#sequences, this.#snapshots, this.#readings, this.#augmentations]) {
      all.delete(number);
    }
  }

  #keep<T>(all: Map<number, T>, held: T): number {
    const number = this.#count++;
    all.set(number, held);
    return number;
  }

  #find<T>(all: Map<number, T>, number: number, what: string): T {
    const held = all.get(number);
    if (!held) throw new FoveateError("closed", `the ${what} has ended or was disposed of`);
    return held;
  }

  #open({ context, pool, kv }: SessionSettings): WasmSession {
    return asking(() => this.#model.session(context, pool, kv));
  }

  /** Starts an answer to token ids in a session of its own. */
  async #start(ids: Uint32Array, asked: Asked, objects: Partial<AnswerObjects>, began?: number): Promise<number> {
    const generate = (options: JsOptions) => asking(() => this.#model.generate(ids, options));
    const answer = new Running(generate, ids, asked, objects, began === undefined ? {} : { began });
    const number = this.#keep(this.#answers, answer);
    await settled();
    return number;
  }

  /** Replaces the token ids of a session, and reads those that are not cached. Returns the number of cached ids. */
  async #read(sequence: Sequence, session: WasmSession, ids: Uint32Array, signal: AbortSignal | undefined): Promise<number> {
    const cached = session.rewrite(ids);
    sequence.ids = [...ids.subarray(0, cached)];
    await readAppended(session, cached, signal);
    sequence.ids = [...ids];
    return cached;
  }

  /** Opens a session and reads these token ids. */
  async #reread(settings: SessionSettings, ids: readonly number[] | undefined): Promise<WasmSession> {
    if (!ids) throw new FoveateError("failed", "the snapshot was lost with the GPU device: latents cannot be read again");
    const session = this.#open(settings);
    await settled();
    session.append(Uint32Array.from(ids));
    while (session.read()) await breathe();
    return session;
  }

  /** Runs one step of a session after all earlier ones. */
  #turn<T>(sequence: Sequence, work: (session: WasmSession) => T | Promise<T>): Promise<T> {
    const step = async () => {
      if (!sequence.session) throw new FoveateError("failed", "the session was lost with the GPU device: latents cannot be read again");
      return work(sequence.session);
    };
    const turn = sequence.last.then(() => this.#lasting(step));
    sequence.last = turn.catch(() => {});
    return turn;
  }

  /** Runs `work`. If the device is lost meanwhile, recovers on a new device and runs it again. */
  async #lasting<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.#recovering;
      const model = this.#model;
      try {
        return await work();
      } catch (error) {
        if (!isLoss(error) || this.#freed) throw error;
        // Another step may already have recovered, or be recovering.
        if (this.#model === model) this.#recovering ??= this.#recover(error).finally(() => (this.#recovering = undefined));
        await this.#recovering;
      }
    }
  }

  /** Loads the model onto a new device, reads all sessions again and restarts all answers where they were. */
  async #recover(error: unknown): Promise<void> {
    if (++this.#devicesLost > MOST_DEVICES_LOST) throw error;
    const model = await this.#reload();
    release(this.#model);
    this.#model = model;
    for (const number of [...this.#readings.keys(), ...this.#augmentations.keys()]) this.end(number);
    for (const kept of this.#snapshots.values()) {
      release(kept.snapshot);
      kept.snapshot = undefined;
    }
    for (const sequence of this.#sequences.values()) {
      release(sequence.session);
      sequence.session = sequence.ids && (await this.#reread(sequence.settings, sequence.ids));
    }
    for (const answer of this.#answers.values()) {
      release(answer.generation);
      const { to, generated } = answer;
      const options = { ...answer.options, replay: Uint32Array.from(generated) };
      if (to instanceof Uint32Array) answer.generation = asking(() => model.generate(to, options));
      else if (to.session) answer.generation = to.session.generate(options);
    }
    await settled();
  }
}
