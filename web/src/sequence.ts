/** Sessions of the wasm in the engine's thread, with the token ids that rebuild them on another device. */

import type { Session as WasmSession, Snapshot as WasmSnapshot } from "../pkg/foveate.js";
import { throwIfAborted } from "./error.js";
import type { SessionSettings } from "./methods.js";

/** A session, with the settings and token ids that rebuild it on another device. */
export interface Sequence {
  /** `undefined` if the session was lost with a device: it held latents, which cannot be read again. */
  session: WasmSession | undefined;
  readonly settings: SessionSettings;
  /** All token ids, or `undefined` if the session holds latents. */
  ids: number[] | undefined;
  /** Resolves when the last call has ended. */
  last: Promise<unknown>;
}

/** A snapshot, with the token ids that rebuild it on another device. */
export interface Kept {
  snapshot: WasmSnapshot | undefined;
  readonly ids: readonly number[] | undefined;
}

/** Token id of a latent. */
const NO_TOKEN = 0xffff_ffff;

/** Returns the token ids of a session, or `undefined` if it holds latents. */
export function idsIn(session: WasmSession): number[] | undefined {
  const ids = [...session.tokens()];
  return ids.includes(NO_TOKEN) ? undefined : ids;
}

/** Returns `true` for the error of a lost device. */
export const isLoss = (error: unknown): boolean => (error as { code?: unknown } | undefined)?.code === "device";

/** Yields to events and drawing. The CPU executor never waits for anything, so it would block them. */
export const breathe = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** Reads the appended tokens of a session. If reading fails or is aborted, rolls the session back to `length`. */
export async function readAppended(session: WasmSession, length: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    do {
      await breathe();
      throwIfAborted(signal);
    } while (session.read());
  } catch (error) {
    if (!isLoss(error)) session.rollback(length);
    throw error;
  }
}
