/** A model in this thread, and everything of it that outlives a call. */

import type {
  Augmentation,
  Generation,
  JsOptions,
  Model as WasmModel,
  Reading,
  Session as WasmSession,
  Snapshot as WasmSnapshot,
} from "../pkg/foveate.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { glue } from "./glue.js";
import { type DeltaState, type Layer, type RoutingState, stateOf } from "./layers.js";
import type { Finding, Hooks, Message, Policy, Profile, Report, Segment, SessionSettings, Stats, Step, TemplateInputs, View } from "./methods.js";
import { asking, settled } from "./pipelines.js";
import { phases } from "./profile.js";

/** A sequence, and what it takes to go on with it on another device. */
interface Sequence {
  /** Gone where a device was lost with what can't be read again. */
  session: WasmSession | undefined;
  readonly settings: SessionSettings;
  /** What it has read; unknown where latents are among it. */
  ids: number[] | undefined;
  /** When the last step has ended. */
  last: Promise<unknown>;
}

/** A sequence as it was. */
interface Kept {
  snapshot: WasmSnapshot | undefined;
  readonly ids: readonly number[] | undefined;
}

/** An answer in the making: to ids, or to what a sequence holds. */
interface Answer {
  generation: Generation;
  readonly to: Uint32Array | Sequence;
  readonly options: JsOptions;
  readonly generated: number[];
}

/** Devices that a model may lose: more is a driver that fails at what we ask of it. */
const MOST_LOSSES = 3;

/** The token of a latent. */
const NO_TOKEN = 0xffff_ffff;

/** Lets events and drawing through: on the processor nothing else would. */
const breathe = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** Frees what nobody uses; what a step still uses goes with the garbage. */
function release(held: { free(): void } | undefined): void {
  try {
    held?.free();
  } catch {
    // It is borrowed.
  }
}

function known(session: WasmSession): number[] | undefined {
  const ids = [...session.tokens()];
  return ids.includes(NO_TOKEN) ? undefined : ids;
}

const isLoss = (error: unknown) => (error as { code?: unknown } | undefined)?.code === "device";

export class Loaded {
  readonly layers: readonly Layer[];
  #model: WasmModel;
  readonly #reload: () => Promise<WasmModel>;
  #recovering: Promise<void> | undefined;
  #losses = 0;
  #freed = false;
  #count = 0;
  readonly #answers = new Map<number, Answer>();
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

  /** The first case of every op. */
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
    return { device, passedOver, losses: this.#losses, trial: trial && JSON.parse(trial), findings };
  }

  async begin(ids: Uint32Array, options: JsOptions): Promise<number> {
    const generation = asking(() => this.#model.generate(ids, options));
    const number = this.#keep(this.#answers, { generation, to: ids, options, generated: [] });
    await settled();
    return number;
  }

  answer(number: number, options: JsOptions): Promise<number> {
    const sequence = this.#find(this.#sequences, number, "session");
    return this.#turn(sequence, (session) => {
      const generation = session.generate(options);
      return this.#keep(this.#answers, { generation, to: sequence, options, generated: [] });
    });
  }

  async next(number: number): Promise<Step> {
    await breathe();
    const answer = this.#find(this.#answers, number, "answer");
    const step = async (): Promise<Step> => {
      const step = await answer.generation.next();
      const { id, text, end, probabilities } = step;
      step.free();
      if (id !== undefined) {
        answer.generated.push(id);
        if (!(answer.to instanceof Uint32Array)) answer.to.ids?.push(id);
      }
      return { id, text, end: end as Step["end"], probabilities, losses: this.#losses };
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
        return this.#keep(this.#sequences, { session, settings, ids: known(session), last: Promise.resolve() });
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
      try {
        do {
          await breathe();
          throwIfAborted(signal);
        } while (session.read());
      } catch (error) {
        if (!isLoss(error)) session.rollback(length);
        throw error;
      }
      for (const id of ids) sequence.ids?.push(id);
      return length + ids.length;
    });
  }

  tokens(number: number): Promise<Uint32Array> {
    return this.#turn(this.#find(this.#sequences, number, "session"), (session) => session.tokens());
  }

  segments(number: number): Promise<Segment[]> {
    return this.#turn(this.#find(this.#sequences, number, "session"), (session) => JSON.parse(session.segments()));
  }

  /** What a layer remembers. */
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
      sequence.ids = known(sequence.session as WasmSession);
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

  splice(number: number, begun: number, latents: Float32Array, policy: Policy): Promise<string | undefined> {
    const sequence = this.#find(this.#sequences, number, "session");
    const augmentation = this.#find(this.#augmentations, begun, "augmentation");
    return this.#turn(sequence, async (session) => {
      const dropped = await session.splice(augmentation, latents, policy);
      if (dropped === undefined) sequence.ids = undefined;
      return dropped;
    });
  }

  end(number: number): void {
    release(this.#answers.get(number)?.generation);
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
    if (!held) throw new FoveateError("closed", `the ${what} has ended`);
    return held;
  }

  #open({ context, pool, kv }: SessionSettings): WasmSession {
    return asking(() => this.#model.session(context, pool, kv));
  }

  /** A session that has read these ids. */
  async #reread(settings: SessionSettings, ids: readonly number[] | undefined): Promise<WasmSession> {
    if (!ids) throw new FoveateError("failed", "latents were lost with the device, and can't be read again");
    const session = this.#open(settings);
    await settled();
    session.append(Uint32Array.from(ids));
    while (session.read()) await breathe();
    return session;
  }

  /** One step of a sequence at a time. */
  #turn<T>(sequence: Sequence, work: (session: WasmSession) => T | Promise<T>): Promise<T> {
    const step = async () => {
      if (!sequence.session) throw new FoveateError("failed", "the session was lost with the device: it held latents");
      return work(sequence.session);
    };
    const turn = sequence.last.then(() => this.#lasting(step));
    sequence.last = turn.catch(() => {});
    return turn;
  }

  /** `work`, and where its device is lost in the midst of it, again on another one. */
  async #lasting<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.#recovering;
      const model = this.#model;
      try {
        return await work();
      } catch (error) {
        if (!isLoss(error) || this.#freed) throw error;
        // Another step may have seen to it, or be about to.
        if (this.#model === model) this.#recovering ??= this.#recover(error).finally(() => (this.#recovering = undefined));
        await this.#recovering;
      }
    }
  }

  /** Loads the model onto a new device, and takes up what was under way where it was. */
  async #recover(error: unknown): Promise<void> {
    if (++this.#losses > MOST_LOSSES) throw error;
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
