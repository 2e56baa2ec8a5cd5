/** What kind of thing went wrong; messages say what exactly, codes stay as they are between versions. */
export type FoveateErrorCode =
  /** A file could not be read: a failed request, or a range outside of it. */
  | "read"
  /** A file is damaged, or not of the format it was opened as. */
  | "format"
  | "missing-tensor"
  | "unused-tensors"
  | "tensor-shape"
  | "unsupported-tensor-type"
  | "unsupported-architecture"
  /** A model configuration, an option or an argument that is wrong. */
  | "config"
  | "tokenizer"
  /** A chat template that is missing, wrong or refuses the messages. */
  | "template"
  /** A device that failed, was lost or was not found. */
  | "device"
  | "out-of-memory"
  /** The device has less of something than a kernel needs. */
  | "limit"
  /** Something that this executor has no kernel for, or that this browser lacks. */
  | "unsupported"
  /** More tokens than the model was made for. */
  | "context-full"
  | "empty-prompt"
  /** Logits of NaN or infinity: a weight is damaged, or values overflow. */
  | "not-finite"
  /** A length that a session can't go back to. */
  | "rollback"
  /** A saved session of another model, or kept in another way. */
  | "mismatch"
  /** The caller's `AbortSignal` ended it. */
  | "cancelled"
  /** The model, device or session was disposed of. */
  | "closed"
  | "failed"
  /** A mistake in this library: please report it. */
  | "internal";

/** Every error that this package throws. */
export class FoveateError extends Error {
  override readonly name = "FoveateError";
  readonly code: FoveateErrorCode;

  constructor(code: FoveateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Anything that was thrown, as one of ours. */
  static from(thrown: unknown): FoveateError {
    if (thrown instanceof FoveateError) return thrown;
    const { code, name, message } = (thrown ?? {}) as { code?: unknown; name?: unknown; message?: unknown };
    const text = typeof message === "string" ? message : String(thrown);
    if (name === "AbortError") return new FoveateError("cancelled", "cancelled", { cause: thrown });
    // The wasm gives its errors a code; a trap has none.
    const ours = thrown instanceof Error && typeof code === "string" && !("errno" in thrown);
    return new FoveateError(ours ? (code as FoveateErrorCode) : "internal", text, { cause: thrown });
  }
}

/** What a call takes that can be ended, with an error of code `cancelled`. */
export interface Abortable {
  readonly signal?: AbortSignal;
}

/** Throws if the signal was aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal);
}

export function cancelled(signal: AbortSignal): FoveateError {
  return new FoveateError("cancelled", "cancelled", { cause: signal.reason });
}

/** `work`, or a rejection as soon as the signal is aborted; the work itself is not stopped. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(cancelled(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
