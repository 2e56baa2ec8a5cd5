/** Requests that outlast dropped connections: files as a whole, and ranges that go on where they stopped. */

import { explained, forbidden, isPage, pageInstead, refused } from "./cause.js";
import { FoveateError, throwIfAborted } from "./error.js";
import { watchPolicy } from "./policy.js";
import { sameVersion, type SizedVersion, type Version, versionOf } from "./version.js";

/** The part of `fetch` that is used here. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; cache: "no-store" | "no-cache"; signal: AbortSignal },
) => Promise<Response>;

/** Options of requests. */
export interface RequestSettings {
  readonly signal?: AbortSignal | undefined;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Takes the place of `fetch`. */
  readonly fetch?: Fetch | undefined;
  /** Milliseconds without a byte after which a request is repeated: 30,000 by default. */
  readonly timeout?: number | undefined;
  /** Called with the number of bytes that arrived. */
  readonly onFetched?: ((bytes: number) => void) | undefined;
}

/** Attempts of a request that makes no progress, and the wait after the first, in ms. Each further wait is twice as long. */
const TRIES = 4;
const FIRST_WAIT = 300;
/** Longest wait that a server may ask for by `Retry-After`, in ms. */
const MAX_WAIT = 10_000;
const TIMEOUT = 30_000;

/** Returns the error of a file that changed during its download. */
export const changed = (url: URL, how: string): FoveateError =>
  new FoveateError("read", `${url} changed on the server while it was downloaded: ${how}; load it again`, { reason: "changed" });

/** Ends a request if nothing arrives for a while, or if the caller's signal is aborted. */
class Watch {
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #timeout: number;
  readonly #abort = () => this.#stop.abort(this.#signal?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;
  late = false;

  constructor({ signal, timeout = TIMEOUT }: RequestSettings) {
    this.#signal = signal;
    this.#timeout = timeout;
    signal?.addEventListener("abort", this.#abort, { once: true });
    this.heard();
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Starts the time anew. */
  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.late = true;
      this.#stop.abort(new Error(`nothing arrived for ${this.#timeout} ms`));
    }, this.#timeout);
  }

  /** Also frees the connection, if the response was not read to its end. */
  end(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#stop.abort();
  }

  error(url: URL, cause: unknown): FoveateError {
    const why = `nothing arrived for ${this.#timeout / 1000} s, ${TRIES} times`;
    return new FoveateError("read", `cannot read ${url}: ${why}: check the connection, or raise the option timeout`, { cause, reason: "timeout" });
  }
}

/** A failure that may not occur again, and the wait that the server asks for, in ms. */
class Temporary extends Error {
  readonly why: () => Promise<FoveateError>;
  readonly wait: number;

  constructor(why: () => Promise<FoveateError>, wait = 0) {
    super();
    this.why = why;
    this.wait = wait;
  }
}

/** Sends a request. Returns its response, or throws `Temporary` for a failure that may pass. */
async function send(url: URL, method: string, headers: Record<string, string>, watch: Watch, settings: RequestSettings): Promise<Response> {
  watchPolicy();
  // The HTTP cache would serialize requests of ranges of one file. Other files are revalidated.
  const cache = "Range" in headers ? "no-store" : "no-cache";
  const init = { method, headers: { ...settings.headers, ...headers }, cache, signal: watch.signal } as const;
  let response: Response;
  try {
    response = await (settings.fetch ?? fetch)(url.href, init);
  } catch (error) {
    throwIfAborted(settings.signal);
    if (watch.late) throw new Temporary(async () => watch.error(url, error));
    // A policy blocks the request each time. Other failures may pass: connections come back, and failing proxies send no CORS headers.
    const found = settings.fetch ? undefined : await forbidden(url, error);
    if (found) throw found;
    throw new Temporary(() => explained(url, error, !settings.fetch));
  }
  watch.heard();
  if (response.status >= 500 || response.status === 429 || response.status === 408) {
    const wait = Number(response.headers.get("Retry-After") ?? 0) * 1000;
    throw new Temporary(async () => refused(url, response), Math.min(MAX_WAIT, wait || 0));
  }
  return response;
}

/**
 * Runs `work` until it succeeds, with waits between, or until it failed `tries` times without progress. `progress` tells
 * how far the work is.
 */
async function retrying<T>(url: URL, settings: RequestSettings, tries: number, work: (watch: Watch) => Promise<T>, progress = () => 0): Promise<T> {
  let before = progress();
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(settings.signal);
    const watch = new Watch(settings);
    try {
      return await work(watch);
    } catch (error) {
      throwIfAborted(settings.signal);
      if (error instanceof FoveateError) throw error;
      const temporary = error instanceof Temporary ? error : new Temporary(async () => (watch.late ? watch.error(url, error) : dropped(url, error)));
      if (progress() > before) [attempt, before] = [1, progress()];
      if (attempt >= tries) throw await temporary.why();
      await paused(Math.max(temporary.wait, FIRST_WAIT * 2 ** (attempt - 1)), settings.signal);
    } finally {
      watch.end();
    }
  }
}

const dropped = (url: URL, cause: unknown) => {
  const said = cause instanceof Error ? cause.message : String(cause);
  const why = `the connection dropped ${TRIES} times (${said}): check it and load again, which goes on where this stopped`;
  return new FoveateError("read", `cannot read ${url}: ${why}`, { cause, reason: "dropped" });
};

/** Waits, at most until the signal is aborted. */
function paused(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Passes the bytes of a body on, and tells the watch and the caller of them. */
async function* chunksOf(response: Response, watch: Watch, settings: RequestSettings): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done || !value) return;
      watch.heard();
      settings.onFetched?.(value.length);
      yield value;
    }
  } finally {
    reader?.cancel().catch(() => {});
  }
}

/** Reads a body as a `Blob`, which browsers store outside of the page's memory. */
async function bodyOf(response: Response, watch: Watch, settings: RequestSettings): Promise<Blob> {
  const chunks = chunksOf(response, watch, settings);
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value as Uint8Array<ArrayBuffer>);
    },
  });
  const blob = await new Response(stream).blob();
  const promised = Number(response.headers.get("Content-Length") ?? 0);
  // A compressed body has another length than Content-Length says, and other origins hide Content-Encoding.
  if (response.type === "basic" && !response.headers.has("Content-Encoding") && blob.size < promised) throw new Error(`${blob.size} of ${promised} bytes arrived`);
  return blob;
}

/** A file as a whole, and its version. */
export interface Whole {
  readonly blob: Blob;
  readonly version: Version;
}

/** Reads a file as a whole. If it does not exist and is `optional`, returns `undefined`. */
export function whole(url: URL, settings: RequestSettings): Promise<Whole>;
export function whole(url: URL, settings: RequestSettings, optional: boolean, tries?: number): Promise<Whole | undefined>;
export async function whole(url: URL, settings: RequestSettings, optional = false, tries = TRIES): Promise<Whole | undefined> {
  return retrying(url, settings, tries, async (watch) => {
    const response = await send(url, "GET", {}, watch, settings);
    if (response.ok && !isPage(response)) return { blob: await bodyOf(response, watch, settings), version: versionOf(response) };
    // For missing files, storage services answer 403, and development servers answer with the page itself.
    if (optional && (response.ok || [403, 404, 410].includes(response.status))) return undefined;
    throw response.ok ? pageInstead(url, response) : refused(url, response);
  });
}

/** Returns the version of a file from a single request of its headers; `undefined` if it cannot be told. */
export async function askVersion(url: URL, settings: RequestSettings): Promise<Version | undefined> {
  if (globalThis.navigator?.onLine === false) return undefined;
  try {
    // With a range, browsers ask for the plain file, whose length is not that of a compressed response.
    const headers = { Range: "bytes=0-" };
    const timeout = Math.min(HEAD_TIMEOUT, settings.timeout ?? HEAD_TIMEOUT);
    const response = await retrying(url, { ...settings, timeout }, 1, (watch) => send(url, "HEAD", headers, watch, settings));
    if (!response.ok || isPage(response)) return undefined;
    const { size: told, ...version } = versionOf(response);
    // Some servers do not know the length at a HEAD request, and say 0.
    const length = response.headers.has("Content-Encoding") ? undefined : Number(response.headers.get("Content-Length") ?? 0);
    return { ...version, size: told || length || undefined };
  } catch (error) {
    if ((error as FoveateError).code === "cancelled") throw error;
    return undefined;
  }
}

/** Milliseconds that a load waits for the headers of a file that is in the cache. */
const HEAD_TIMEOUT = 5000;

/** Bytes of a file from its start on, or the file as a whole if the server does not support ranges. */
export type Start = { readonly bytes: Uint8Array; readonly version: SizedVersion } | Whole;

/** Reads the first bytes of a file, at most `length`. */
export async function start(url: URL, length: number, settings: RequestSettings): Promise<Start> {
  let version: Version | undefined;
  const got = await readRange(url, 0, length, settings, (response) => {
    const now = versionOf(response);
    if (version && !sameVersion(version, now)) throw changed(url, "its version differs");
    version ??= now;
  });
  if ("blob" in got) return got;
  const { bytes } = got;
  // Content-Range of other origins is visible only if they expose it.
  const size = version?.size ?? (bytes.length < length ? bytes.length : (await askVersion(url, settings))?.size);
  if (size === undefined) throw new FoveateError("read", `cannot read ${url}: the server sends neither Content-Range nor Content-Length`, { reason: "range" });
  return { bytes, version: { ...version, size } };
}

/**
 * Reads bytes `from` to `to` of a file of a known version. Returns the file as a whole if the server does not support ranges
 * any more.
 */
export async function range(url: URL, from: number, to: number, version: Version, settings: RequestSettings): Promise<Uint8Array | Whole> {
  const got = await readRange(url, from, to, settings, (response) => {
    if (!sameVersion(version, versionOf(response))) throw changed(url, "its version differs");
  });
  if ("blob" in got) {
    if (got.blob.size !== version.size) throw changed(url, `it has ${got.blob.size} bytes instead of ${version.size}`);
    return got;
  }
  if (got.bytes.length !== to - from) throw changed(url, `it ends at byte ${from + got.bytes.length}`);
  return got.bytes;
}

/** Reads bytes `from` to `to`, or up to the end of the file; goes on where a connection dropped. */
async function readRange(
  url: URL,
  from: number,
  to: number,
  settings: RequestSettings,
  check: (response: Response) => void,
): Promise<{ readonly bytes: Uint8Array } | Whole> {
  const out = new Uint8Array(to - from);
  let at = 0;
  /** Number of the requested bytes that the server has. */
  let there = out.length;
  const work = async (watch: Watch): Promise<{ readonly bytes: Uint8Array } | Whole> => {
    const response = await send(url, "GET", { Range: `bytes=${from + at}-${from + there - 1}` }, watch, settings);
    if (response.status !== 206) {
      if (response.status === 200 && isPage(response)) throw pageInstead(url, response);
      if (response.status === 200) return { blob: await bodyOf(response, watch, settings), version: versionOf(response) };
      // An empty file has no range.
      if (response.status === 416 && from === 0) return { blob: new Blob(), version: { size: 0 } };
      throw response.status === 416 ? changed(url, `it ends before byte ${from + at}`) : refused(url, response);
    }
    check(response);
    const [, first, last] = response.headers.get("Content-Range")?.match(/^bytes (\d+)-(\d+)\//) ?? [];
    const promised = last === undefined ? Number(response.headers.get("Content-Length") ?? NaN) : Number(last) - Number(first) + 1;
    if ((first !== undefined && Number(first) !== from + at) || promised > there - at || response.headers.has("Content-Encoding")) {
      throw new WrongRange();
    }
    // A file may end before `to`.
    if (!Number.isNaN(promised)) there = at + promised;
    for await (const bytes of chunksOf(response, watch, settings)) {
      if (at + bytes.length > there) throw new WrongRange();
      out.set(bytes, at);
      at += bytes.length;
    }
    if (at < there && !Number.isNaN(promised)) throw new Error(`${at} of ${there} bytes arrived`);
    return { bytes: out.subarray(0, at) };
  };
  try {
    return await retrying(url, settings, TRIES, (watch) => work(watch).catch((error) => asRangeError(url, error)), () => at);
  } catch (error) {
    const { reason } = error as FoveateError;
    if (reason === "range") return whole(url, settings);
    // Browsers refuse compressed responses to ranges, and servers may allow other origins no ranges.
    const unranged = from === 0 && at === 0 && (reason === "cors" || reason === "unreachable");
    const all = unranged ? await whole(url, settings, false, 1).catch(() => undefined) : undefined;
    if (!all) throw error;
    return all;
  }
}

/** The server sent another range than was requested. */
class WrongRange extends Error {}

function asRangeError(url: URL, error: unknown): never {
  if (error instanceof WrongRange) throw new FoveateError("read", `cannot read ${url}: the server sent another range than was requested`, { reason: "range" });
  throw error;
}
