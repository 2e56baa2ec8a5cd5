/** A `fetch` that models in the page answer, for libraries that speak to OpenAI's servers. */

import type { Client } from "./client.js";
import { APIError } from "./error.js";
import type { ChatParams, CompletionParams, EmbeddingParams, Stream } from "./types.js";

const json = (value: unknown, status = 200) =>
  new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json", "x-should-retry": "false" } });

/** Returns a stream as server-sent events. */
function events(stream: Stream<object>): Response {
  const iterator = stream[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await iterator.next();
      controller.enqueue(encoder.encode(`data: ${done ? "[DONE]" : JSON.stringify(value)}\n\n`));
      if (done) controller.close();
    },
    cancel: async () => void (await iterator.return?.()),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/**
 * Returns a `fetch` that answers requests to any server by a client of models in the page. The package `openai`, LangChain.js
 * and others take it: `new OpenAI({ apiKey: "none", dangerouslyAllowBrowser: true, fetch: createFetch(client) })`.
 */
export function createFetch(client: Client): (input: string | URL | Request, init?: RequestInit) => Promise<Response> {
  return async (input, init) => {
    const request = new Request(input, init);
    const { signal } = request;
    const path = new URL(request.url).pathname.replace(/^.*\/v1\//, "");
    try {
      if (path === "models") return json(await client.models.list());
      if (path.startsWith("models/")) return json(await client.models.retrieve(decodeURIComponent(path.slice("models/".length))));
      const params: unknown = await request.json();
      if (path === "embeddings") return json(await client.embeddings.create(params as EmbeddingParams, { signal }));
      const chat = path === "chat/completions";
      if (!chat && path !== "completions") throw new APIError(404, `there is nothing at ${path}`);
      const answer = chat
        ? await client.chat.completions.create(params as ChatParams, { signal })
        : await client.completions.create(params as CompletionParams, { signal });
      return "controller" in answer ? events(answer) : json(answer);
    } catch (error) {
      const { status, error: body } = APIError.from(error);
      // An aborted `fetch` throws the signal's reason.
      if (status === undefined) throw signal.reason;
      return json({ error: body }, status);
    }
  };
}
