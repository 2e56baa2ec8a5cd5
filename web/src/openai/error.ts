/** Errors in the form that OpenAI's clients throw. */

import { FoveateError } from "../error.js";

/** An error of a request: its status, and the fields of OpenAI's errors. */
export class APIError extends Error {
  override readonly name: string;
  readonly status: number | undefined;
  readonly code: string | null;
  readonly param: string | null;
  readonly type: string;
  /** The body of an error response. */
  readonly error: { message: string; type: string; param: string | null; code: string | null };

  constructor(status: number | undefined, message: string, { code = null, param = null, cause }: { code?: string | null; param?: string | null; cause?: unknown } = {}) {
    super(status === undefined ? message : `${status} ${message}`, { cause });
    this.status = status;
    this.code = code;
    this.param = param;
    this.type = status !== undefined && status < 500 ? "invalid_request_error" : "server_error";
    const names: Record<number, string> = { 400: "BadRequestError", 404: "NotFoundError" };
    this.name = status === undefined ? "APIUserAbortError" : (names[status] ?? "InternalServerError");
    this.error = { message, type: this.type, param, code };
  }

  /** Returns the error of a field that is wrong. */
  static field(param: string, message: string, code?: string): APIError {
    return new APIError(400, message, { param, code: code ?? null });
  }

  /** Converts any thrown value. Errors that a retry cannot change get status 400, those of the device or the model 500 or 503. */
  static from(thrown: unknown): APIError {
    if (thrown instanceof APIError) return thrown;
    const { code, message } = FoveateError.from(thrown);
    if (code === "cancelled") return new APIError(undefined, "Request was aborted.", { cause: thrown });
    if (code === "context-full") return new APIError(400, message, { code: "context_length_exceeded", cause: thrown });
    if (["config", "template", "tokenizer", "empty-prompt", "limit"].includes(code)) return new APIError(400, message, { cause: thrown });
    return new APIError(code === "out-of-memory" ? 503 : 500, message, { cause: thrown });
  }
}
