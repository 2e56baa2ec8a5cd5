/** Likely causes of failed requests. */

import { FoveateError, type FoveateErrorReason } from "./error.js";
import { WEB_PAGE } from "./magic.js";
import { blockedBy } from "./policy.js";

/** Returns `true` if a request without CORS reaches the server. */
async function reachable(url: URL): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(5000);
    await fetch(url, { method: "HEAD", mode: "no-cors", cache: "no-store", credentials: "omit", signal });
    return true;
  } catch {
    return false;
  }
}

/** Returns the error of a request that a policy of the page forbids, or `undefined`. */
export async function forbidden(url: URL, cause: unknown): Promise<FoveateError | undefined> {
  const directive = await blockedBy(url.href, "connect");
  if (directive) {
    const why = `the page's Content-Security-Policy blocks it: add ${url.origin} to its directive ${directive}`;
    return new FoveateError("read", `cannot read ${url}: ${why}`, { cause, reason: "csp" });
  }
  const local = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  if (globalThis.location?.protocol !== "https:" || url.protocol !== "http:" || local) return undefined;
  const why = "a page with TLS (https) cannot read an address without: use https";
  return new FoveateError("read", `cannot read ${url}: ${why}`, { cause, reason: "mixed-content" });
}

/** Explains a request that failed without a response. `own` is `false` if the caller's `fetch` sent it. */
export async function explained(url: URL, error: unknown, own: boolean): Promise<FoveateError> {
  const [reason, why] = await causeOf(url, error, own);
  return new FoveateError("read", `cannot read ${url}: ${why}`, { cause: error, reason });
}

async function causeOf(url: URL, error: unknown, own: boolean): Promise<[FoveateErrorReason, string]> {
  const { message, cause } = (error ?? {}) as { message?: string; cause?: { message?: string } };
  const said = [message ?? String(error), cause?.message].filter(Boolean).join(": ");
  if (globalThis.navigator?.onLine === false) return ["offline", "this device is offline, and the file is not in the cache"];
  if (!own) return ["unreachable", `the given fetch failed: ${said}`];
  const page = globalThis.location as Location | undefined;
  if (page && url.origin !== page.origin && (await reachable(url))) {
    const header = `Access-Control-Allow-Origin: ${page.origin}`;
    return ["cors", `its server does not let pages of ${page.origin} read it: have it send the header ${header}, or serve the model from this origin`];
  }
  const isolated = globalThis.crossOriginIsolated && page && url.origin !== page.origin;
  const also = isolated ? ", or it does not let pages of other origins read it (CORS)" : "";
  return ["unreachable", `no server answers${also} (${said})`];
}

/** Returns the error of a response whose status is not that of a file. */
export function refused(url: URL, { status, statusText, headers }: Response): FoveateError {
  const [reason, why] = meaning(status);
  const hub = headers.get("X-Error-Message");
  const what = [`status ${status}`, statusText].filter(Boolean).join(" ");
  return new FoveateError("read", `cannot read ${url}: ${[what, hub, why].filter(Boolean).join(": ")}`, { reason });
}

function meaning(status: number): [FoveateErrorReason | undefined, string?] {
  if (status === 401) return ["unauthorized", "pass a token in the option headers, such as { Authorization: `Bearer ${token}` }"];
  if (status === 403) return ["forbidden", "the server refuses access: the address may have expired, or need a token (option headers)"];
  if (status === 404 || status === 410) return ["not-found", "check the address"];
  if (status === 429) return ["rate-limited", "the server limits requests: try again later"];
  if (status >= 500) return ["server", "the server failed: try again later"];
  return [undefined];
}

/** Returns the error of a web page that came in place of a file. */
export function pageInstead(url: URL, { redirected, url: from }: Response): FoveateError {
  const elsewhere = redirected && URL.canParse(from) ? new URL(from) : undefined;
  if (elsewhere) {
    const why = `the server redirected to a web page, ${elsewhere.origin}${elsewhere.pathname}: log in there, or to this network, and try again`;
    return new FoveateError("format", `${url} is not a model: ${why}`, { reason: "login" });
  }
  return new FoveateError("format", `${url} is not a model: ${WEB_PAGE}`, { reason: "html" });
}

export const isPage = (response: Response): boolean => response.headers.get("Content-Type")?.trim().toLowerCase().startsWith("text/html") ?? false;
