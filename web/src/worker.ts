/** The engine in a worker: calls arrive as messages, and results go back as messages. */

import { LocalEngine } from "./engine.js";
import { FoveateError } from "./error.js";
import { proxyFetch } from "./proxy.js";
import type { Method, Progress } from "./methods.js";
import { install } from "./pipelines.js";

/** A call, or its end. `fetch` is the port of the page's `fetch`. */
export type Request = { id: number; method: Method; args: unknown[]; fetch?: MessagePort } | { abort: number };

export type Reply =
  | { id: number; value: unknown }
  | { id: number; error: Pick<FoveateError, "code" | "message" | "reason"> }
  | { id: number; progress: Progress };

install();
const engine = new LocalEngine();
const running = new Map<number, AbortController>();
const reply = (message: Reply) => postMessage(message);

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  if ("abort" in data) {
    running.get(data.abort)?.abort();
    return;
  }
  const { id, method, args, fetch } = data;
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const onProgress = (progress: Progress) => reply({ id, progress });
    const value = await engine.call(method, args as never, { onProgress, signal: controller.signal, fetch: fetch && proxyFetch(fetch) });
    reply({ id, value });
  } catch (thrown) {
    const { code, message, reason } = FoveateError.from(thrown);
    reply({ id, error: { code, message, reason } });
  } finally {
    running.delete(id);
  }
});

// The page waits for this message before it sends calls.
postMessage("loaded");
