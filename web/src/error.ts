/** Kinds of errors. Codes are stable between versions; messages are for people and may change. */
export type FoveateErrorCode =
  /** A file could not be read: a request failed, or a range lies outside of the file. `reason` names the likely cause. */
  | "read"
  /** The browser's storage has no room for the model. */
  | "quota"
  /** A file is damaged or has another format than expected. */
  | "format"
  /** The model's files lack a tensor. */
  | "missing-tensor"
  /** The model's files have tensors that its family does not use. */
  | "unused-tensors"
  /** A tensor's shape does not match the model's configuration. */
  | "tensor-shape"
  /** A tensor's type is not supported. */
  | "unsupported-tensor-type"
  /** The model's family is not supported. */
  | "unsupported-architecture"
  /** An option, an argument or a model configuration is invalid. */
  | "config"
  /** The tokenizer is missing or damaged, or a token id is outside of the vocabulary. */
  | "tokenizer"
  /** The chat template is missing or damaged, or rejects the messages. */
  | "template"
  /** No device was found, or the device failed or was lost. */
  | "device"
  /** Memory of the device or of WebAssembly ran out. */
  | "out-of-memory"
  /** A kernel needs more than a limit of the device allows. */
  | "limit"
  /** The executor has no kernel for this, or the browser lacks a feature. */
  | "unsupported"
  /** The text is longer than the context. */
  | "context-full"
  /** The prompt has no tokens. */
  | "empty-prompt"
  /** Logits are NaN or infinite: a weight is damaged, or values overflow. */
  | "not-finite"
  /** A session cannot roll back to this length. */
  | "rollback"
  /** A saved session belongs to another model or another `kv` format. */
  | "mismatch"
  /** The caller's `AbortSignal` was aborted. */
  | "cancelled"
  /** The model, device, session or answer was disposed of. */
  | "closed"
  /** The operation failed for a reason without a code of its own. */
  | "failed"
  /** A bug in this library: please report it. */
  | "internal";

/** Likely causes of errors of the codes `read` and `format`. They are stable between versions. */
export type FoveateErrorReason =
  /** The device is offline, and the file is not in the cache. */
  | "offline"
  /** No server answers at this address. */
  | "unreachable"
  /** The server does not allow pages of other origins to read the file (`Access-Control-Allow-Origin`). */
  | "cors"
  /** A page with TLS requested an address without TLS. */
  | "mixed-content"
  /** A directive of the page's Content-Security-Policy blocked the request, the worker or the wasm. */
  | "csp"
  /** Nothing arrived for `timeout` milliseconds. */
  | "timeout"
  /** The connection dropped again and again. */
  | "dropped"
  /** The server requires a login or a token (status 401). */
  | "unauthorized"
  /** The server refuses access (status 403). */
  | "forbidden"
  /** There is no file at this address (status 404 or 410). */
  | "not-found"
  /** The server limits the number of requests (status 429). */
  | "rate-limited"
  /** The server failed (status 500 or more). */
  | "server"
  /** The server sent another part of the file than was requested. */
  | "range"
  /** The file changed on the server while it was downloaded. */
  | "changed"
  /** A web page came in place of the file. */
  | "html"
  /** The server redirected to a web page, such as a login page. */
  | "login"
  /** The file is a pointer of git-lfs: the repository was copied without its large files. */
  | "lfs-pointer"
  /** The file is compressed. */
  | "compressed"
  /** The file has no bytes. */
  | "empty"
  /** The script of the worker cannot be loaded. */
  | "worker";

/** Error of this package. Every function throws this class only. */
export class FoveateError extends Error {
  override readonly name = "FoveateError";
  /** Kind of error, to branch on. */
  readonly code: FoveateErrorCode;
  /** Likely cause, if it is known. */
  readonly reason: FoveateErrorReason | undefined;

  constructor(code: FoveateErrorCode, message: string, options?: ErrorOptions & { reason?: FoveateErrorReason | undefined }) {
    super(message, options);
    this.code = code;
    this.reason = options?.reason;
  }

  /** Converts any thrown value to a `FoveateError`. */
  static from(thrown: unknown): FoveateError {
    if (thrown instanceof FoveateError) return thrown;
    const { code, name, message } = (thrown ?? {}) as { code?: unknown; name?: unknown; message?: unknown };
    const text = typeof message === "string" ? message : String(thrown);
    if (name === "AbortError") return new FoveateError("cancelled", "cancelled", { cause: thrown });
    // Errors of the wasm have a code; traps have none.
    const ours = thrown instanceof Error && typeof code === "string" && !("errno" in thrown);
    return new FoveateError(ours ? (code as FoveateErrorCode) : "internal", text, { cause: thrown });
  }
}

/** Option of calls that can be cancelled. A cancelled call throws an error of code `cancelled`. */
export interface Abortable {
  readonly signal?: AbortSignal;
}

/** Throws if the signal was aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal);
}

/** Returns the error of an aborted signal. */
export function cancelled(signal: AbortSignal): FoveateError {
  return new FoveateError("cancelled", "cancelled", { cause: signal.reason });
}

/** Returns `work`, rejected as soon as the signal is aborted. The work itself continues. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(cancelled(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
