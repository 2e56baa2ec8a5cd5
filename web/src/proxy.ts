/** A `fetch` of the page for its worker: functions cannot be sent to workers, so requests go over a message port. */

import type { Fetch } from "./request.js";

type Init = Parameters<Fetch>[1];

/** Messages to the page: a request, more of its body, or its end. */
type Ask = { id: number; url: string; init: Omit<Init, "signal"> } | { more: number } | { stop: number };

interface Head {
  readonly url: string;
  readonly redirected: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: boolean;
}

/** Messages to the worker: a response, a piece of its body, the end of it, or a failure. */
type Tell = { id: number } & ({ head: Head } | { bytes: Uint8Array } | { end: true } | { error: string });

/** Statuses of responses that cannot have a body. */
const BODILESS = [204, 205, 304];

/** Returns the port of a `fetch`, to send to a worker. It is closed when `end` is aborted. */
export function exposeFetch(fetch: Fetch, end: AbortSignal): MessagePort {
  const { port1, port2 } = new MessageChannel();
  const running = new Map<number, { readonly stop: AbortController; reader?: ReadableStreamDefaultReader<Uint8Array> | undefined }>();
  const tell = (message: Tell, moved: Transferable[] = []) => port1.postMessage(message, moved);
  const fail = (id: number, error: unknown) => {
    running.delete(id);
    tell({ id, error: error instanceof Error ? error.message : String(error) });
  };

  async function begin(id: number, url: string, init: Omit<Init, "signal">): Promise<void> {
    const stop = new AbortController();
    running.set(id, { stop });
    const response = await fetch(url, { ...init, signal: stop.signal });
    const { redirected, status, statusText, body } = response;
    running.set(id, { stop, reader: body?.getReader() });
    tell({ id, head: { url: response.url, redirected, status, statusText, headers: [...response.headers], body: body !== null } });
  }

  async function more(id: number): Promise<void> {
    const { value } = (await running.get(id)?.reader?.read()) ?? {};
    if (!value) {
      running.delete(id);
      return tell({ id, end: true });
    }
    const bytes = value.byteLength === value.buffer.byteLength ? value : value.slice();
    tell({ id, bytes }, [bytes.buffer as ArrayBuffer]);
  }

  port1.onmessage = ({ data }: MessageEvent<Ask>) => {
    if ("url" in data) begin(data.id, data.url, data.init).catch((error) => fail(data.id, error));
    else if ("more" in data) more(data.more).catch((error) => fail(data.more, error));
    else {
      running.get(data.stop)?.stop.abort();
      running.delete(data.stop);
    }
  };
  end.addEventListener("abort", () => {
    for (const { stop } of running.values()) stop.abort();
    port1.close();
  });
  return port2;
}

/** Returns the `fetch` of a port. */
export function proxyFetch(port: MessagePort): Fetch {
  const heard = new Map<number, (message: Tell) => void>();
  let count = 0;
  const ask = (message: Ask) => port.postMessage(message);
  port.onmessage = ({ data }: MessageEvent<Tell>) => heard.get(data.id)?.(data);

  /** Waits for the next message of a request. */
  const next = (id: number, signal: AbortSignal) =>
    new Promise<Tell>((resolve, reject) => {
      const stop = () => {
        ask({ stop: id });
        reject(signal.reason);
      };
      if (signal.aborted) return stop();
      signal.addEventListener("abort", stop, { once: true });
      heard.set(id, (message) => {
        signal.removeEventListener("abort", stop);
        heard.delete(id);
        if ("error" in message) reject(new TypeError(message.error));
        else resolve(message);
      });
    });

  return async (url, { signal, ...init }) => {
    const id = count++;
    ask({ id, url, init });
    const told = await next(id, signal);
    if (!("head" in told)) throw new TypeError("the page sent no response");
    const { head } = told;
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        ask({ more: id });
        const message = await next(id, signal);
        if ("bytes" in message) controller.enqueue(message.bytes as Uint8Array<ArrayBuffer>);
        else controller.close();
      },
      cancel: () => ask({ stop: id }),
    });
    const { status, statusText } = head;
    const headers = head.headers.map(([name, value]): [string, string] => [name, value]);
    const response = new Response(head.body && !BODILESS.includes(status) ? body : null, { status, statusText, headers });
    // The constructor of `Response` cannot set its address.
    return Object.defineProperties(response, { url: { value: head.url }, redirected: { value: head.redirected } });
  };
}
