// The client in OpenAI's form, and its types beside those of the package `openai`.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { load } from "../dist/index.js";
import { createClient, createFetch } from "../dist/openai/client.js";
import { ADD, talking, THINKING } from "./talking.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const messages = [{ role: "user", content: "Hello" }];

const all = async (items) => {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
};

describe("OpenAI's interface", () => {
  let model, thinking, client;

  before(async () => {
    [model, thinking] = await Promise.all([load(talking()), load(talking(THINKING))]);
    client = createClient({ small: model, thinking });
  });
  after(() => [model, thinking].forEach((each) => each?.dispose()));

  test("a chat completion, whole and streamed, is the model's answer", async () => {
    const params = { model: "small", messages, temperature: 0, max_completion_tokens: 6 };
    const whole = await client.chat.completions.create(params);
    const { text } = await model.generate(messages, { maxTokens: 6 }).result();
    assert.equal(whole.object, "chat.completion");
    assert.equal(whole.model, "small");
    const prompt = "user: Hello\nassistant: ".length;
    const usage = { prompt_tokens: prompt, completion_tokens: 6, total_tokens: prompt + 6, prompt_tokens_details: { cached_tokens: 0 } };
    assert.deepEqual(whole.usage, usage);
    const message = { role: "assistant", content: text, refusal: null };
    assert.deepEqual(whole.choices, [{ index: 0, finish_reason: "length", logprobs: null, message }]);
    const chunks = await all(await client.chat.completions.create({ ...params, stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
    assert.equal(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), text);
    assert.equal(chunks.at(-2).choices[0].finish_reason, "length");
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.deepEqual(chunks.at(-1).usage, { ...usage, prompt_tokens_details: { cached_tokens: prompt - 1 } }, "the prompt was there");
    assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  });

  test("a longer conversation reads only what is new, and two at once do not disturb each other", async () => {
    // Letters: noise would be no text, and its tokens other ones when it is read again.
    const params = { model: "small", max_tokens: 4, temperature: 0, logit_bias: { 97: 60, 98: 60, 99: 60 } };
    const first = await client.chat.completions.create({ ...params, messages: [{ role: "user", content: "x".repeat(200) }] });
    const longer = [{ role: "user", content: "x".repeat(200) }, first.choices[0].message, { role: "user", content: "More" }];
    const ask = () => client.chat.completions.create({ ...params, messages: longer });
    const next = await ask();
    const { prompt_tokens, prompt_tokens_details } = next.usage;
    assert.ok(prompt_tokens_details.cached_tokens > 200 && prompt_tokens < prompt_tokens_details.cached_tokens + 30, JSON.stringify(next.usage));
    const [one, two] = await Promise.all([ask(), ask()]);
    for (const other of [one, two]) assert.deepEqual(other.choices, next.choices);
  });

  test("n, seed, stop, logprobs and biases", async () => {
    const params = { model: "small", messages, max_tokens: 12, temperature: 1.5, seed: -3, n: 3 };
    const { choices, usage } = await client.chat.completions.create(params);
    assert.deepEqual(choices.map(({ index }) => index), [0, 1, 2]);
    assert.equal(new Set(choices.map(({ message }) => message.content)).size, 3);
    assert.equal(usage.completion_tokens, 36);
    const again = await client.chat.completions.create(params);
    assert.deepEqual(again.choices, choices);
    const streamed = await all(await client.chat.completions.create({ ...params, stream: true }));
    for (const { index, message } of choices) {
      const deltas = streamed.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      assert.equal(deltas.map(({ delta }) => delta.content ?? "").join(""), message.content);
    }
    const plain = { model: "small", messages, max_tokens: 12, temperature: 0 };
    const text = (await client.chat.completions.create(plain)).choices[0].message.content;
    const stop = text.slice(4, 6);
    const stopped = (await client.chat.completions.create({ ...plain, stop })).choices[0];
    assert.deepEqual([stopped.message.content, stopped.finish_reason], [text.slice(0, text.indexOf(stop)), "stop"]);
    const told = (await client.chat.completions.create({ ...plain, logprobs: true, top_logprobs: 2 })).choices[0];
    assert.equal(told.logprobs.content.length, 12);
    for (const { token, logprob, top_logprobs } of told.logprobs.content) {
      assert.ok(logprob <= 0 && top_logprobs.length === 2 && top_logprobs[0].token === token && top_logprobs[0].logprob === logprob);
    }
    const chunks = await all(await client.chat.completions.create({ ...plain, logprobs: true, top_logprobs: 2, stream: true }));
    assert.deepEqual(chunks.flatMap(({ choices }) => choices[0].logprobs?.content ?? []), told.logprobs.content);
    const biased = (await client.chat.completions.create({ ...plain, max_tokens: 3, logit_bias: { 65: 100 } })).choices[0];
    assert.equal(biased.message.content, "AAA");
  });

  test("response formats, tools and reasoning", async () => {
    const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };
    const response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
    const json = await client.chat.completions.create({ model: "small", messages, response_format, temperature: 0 });
    assert.equal(json.choices[0].finish_reason, "stop");
    assert.equal(typeof JSON.parse(json.choices[0].message.content).ok, "boolean");
    const params = { model: "thinking", messages, tools: [ADD], tool_choice: { type: "function", function: { name: "add" } }, temperature: 0, chat_template_kwargs: { enable_thinking: false } };
    const called = (await client.chat.completions.create(params)).choices[0];
    assert.deepEqual([called.finish_reason, called.message.content], ["tool_calls", null]);
    const [call] = called.message.tool_calls;
    assert.ok(call.type === "function" && call.function.name === "add" && JSON.parse(call.function.arguments).b <= 2);
    const deltas = (await all(await client.chat.completions.create({ ...params, stream: true }))).map(({ choices }) => choices[0].delta);
    const parts = deltas.flatMap(({ tool_calls }) => tool_calls ?? []).filter(({ index }) => index === 0);
    assert.deepEqual([parts[0].id, parts[0].function.name], [call.id, "add"]);
    assert.equal(parts.map((part) => part.function.arguments ?? "").join(""), call.function.arguments);
    const more = [...messages, called.message, ...called.message.tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "3" }))];
    const next = await client.chat.completions.create({ ...params, tool_choice: "auto", messages: more, max_tokens: 3 });
    assert.ok(next.usage.prompt_tokens > 0);
    const thought = await client.chat.completions.create({ model: "thinking", messages, temperature: 0, max_tokens: 8 });
    assert.ok(thought.choices[0].message.reasoning_content.length > 0 && thought.choices[0].message.content === "");
  });

  test("completions, embeddings and models", async () => {
    const params = { model: "small", prompt: ["Once", [65, 66]], max_tokens: 5, temperature: 0, n: 2 };
    const { choices, usage, object } = await client.completions.create(params);
    assert.equal(object, "text_completion");
    const texts = await Promise.all(["Once", [65, 66]].map(async (prompt) => (await model.generate(prompt, { maxTokens: 5 }).result()).text));
    assert.deepEqual(choices.map(({ text }) => text), [texts[0], texts[0], texts[1], texts[1]]);
    assert.deepEqual([usage.completion_tokens, choices[0].finish_reason], [20, "length"]);
    const chunks = await all(await client.completions.create({ ...params, prompt: "Once", n: 1, logprobs: 1, stream: true }));
    assert.equal(chunks.map(({ choices }) => choices[0].text).join(""), texts[0]);
    assert.equal(chunks.flatMap(({ choices }) => choices[0].logprobs?.tokens ?? []).length, 5);
    const floats = await client.embeddings.create({ model: "small", input: ["a cat", "a dog"] });
    assert.deepEqual(floats.data.map(({ embedding }) => embedding.length), [model.width, model.width]);
    const short = await client.embeddings.create({ model: "small", input: "a cat", dimensions: 8, encoding_format: "base64" });
    const vector = new Float32Array(Uint8Array.from(Buffer.from(short.data[0].embedding, "base64")).buffer);
    assert.ok(vector.length === 8 && Math.abs(Math.hypot(...vector) - 1) < 1e-5);
    assert.equal(floats.usage.prompt_tokens, 10);
    assert.deepEqual((await client.models.list()).data.map(({ id }) => id), ["small", "thinking"]);
    assert.deepEqual((await all(await client.models.list())).map(({ id }) => id), ["small", "thinking"]);
    assert.equal((await client.models.retrieve("small")).object, "model");
  });

  test("errors have OpenAI's shape", async () => {
    const ask = (more) => client.chat.completions.create({ model: "small", messages, max_tokens: 4, ...more });
    const wrong = [
      [{ model: "large" }, { status: 404, name: "NotFoundError", code: "model_not_found", param: "model" }],
      [{ messages: [] }, { status: 400, name: "BadRequestError", param: "messages", type: "invalid_request_error" }],
      [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, { status: 400, param: "messages" }],
      [{ temperature: 3 }, { status: 400, param: "temperature" }],
      [{ top_logprobs: 3 }, { status: 400, param: "top_logprobs" }],
      [{ stream_options: {} }, { status: 400, param: "stream_options" }],
      [{ best_of: 4 }, { status: 400, param: "best_of", code: "unsupported_parameter" }],
      [{ logit_bias: { x: 1 } }, { status: 400, param: "logit_bias" }],
      [{ tool_choice: "required" }, { status: 400 }],
      [{ tools: [{}] }, { status: 400, param: "tools" }],
      [{ response_format: { type: "xml" } }, { status: 400, param: "response_format" }],
      [{ messages: [{ role: "user", content: "x".repeat(5000) }] }, { status: 400, code: "context_length_exceeded" }],
      [{ messages: [{ role: "user", content: "x".repeat(5000) }], stream: true }, { status: 400, code: "context_length_exceeded" }],
    ];
    for (const [more, expected] of wrong) await assert.rejects(ask(more), expected, JSON.stringify(more).slice(0, 80));
    const neutral = { best_of: 1, functions: [], modalities: ["text"], parallel_tool_calls: true, tools: [], user: "me" };
    assert.equal((await ask(neutral)).choices.length, 1);
    const error = await ask({ messages: [] }).catch((error) => error);
    assert.deepEqual(Object.keys(error.error), ["message", "type", "param", "code"]);
    const running = await ask({ stream: true, max_tokens: 500 });
    let chunks = 0;
    for await (const _ of running) {
      chunks++;
      running.controller.abort();
    }
    assert.ok(chunks < 5, `${chunks} chunks of a stream that was aborted`);
    await assert.rejects(client.chat.completions.create({ model: "small", messages }, { signal: AbortSignal.abort() }), { name: "APIUserAbortError" });
    assert.equal((await ask({})).choices.length, 1, "the model is still usable");
  });
});

test("the package `openai` itself asks models in the page", async () => {
  const model = await load(talking());
  const client = new OpenAI({ apiKey: "none", baseURL: "http://local.invalid/v1", fetch: createFetch(createClient({ small: model })) });
  const params = { model: "small", messages, temperature: 0, max_completion_tokens: 6 };
  const { text } = await model.generate(messages, { maxTokens: 6 }).result();
  const { choices } = await client.chat.completions.create(params);
  assert.equal(choices[0].message.content, text);
  let pieces = "";
  for await (const { choices } of await client.chat.completions.create({ ...params, stream: true })) pieces += choices[0].delta.content ?? "";
  assert.equal(pieces, text);
  const { data } = await client.embeddings.create({ model: "small", input: "a cat" });
  const vector = await model.embed("a cat");
  assert.ok(data[0].embedding.every((x, i) => Math.abs(x - vector[i]) < 1e-6) && data[0].embedding.length === vector.length);
  assert.equal((await client.completions.create({ model: "small", prompt: "Once", max_tokens: 3 })).object, "text_completion");
  assert.deepEqual((await client.models.list()).data.map(({ id }) => id), ["small"]);
  await assert.rejects(client.chat.completions.create({ ...params, temperature: 3 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
  await assert.rejects(client.chat.completions.create({ ...params, model: "large" }), OpenAI.NotFoundError);
  const stream = await client.chat.completions.create({ ...params, max_completion_tokens: 500, stream: true });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 2) stream.controller.abort();
  assert.ok(chunks < 10, `${chunks}`);
  model.dispose();
});

test("the types of the package `openai` fit the client", () => {
  const folder = mkdtempSync(join(tmpdir(), "openai-"));
  const source = `
    import OpenAI from "openai";
    import { createClient, type Client } from "foveate/openai";
    import type { Model } from "foveate";

    export async function ask(model: Model) {
      const client: Client = createClient(model);
      const params: OpenAI.ChatCompletionCreateParamsNonStreaming = {
        model: "any",
        messages: [{ role: "system", content: "Be short." }, { role: "user", content: [{ type: "text", text: "Hi" }] }],
        tools: [{ type: "function", function: { name: "add", parameters: { type: "object" } } }],
        tool_choice: { type: "function", function: { name: "add" } },
        response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "object" } } },
        logit_bias: { "5": 1 }, stop: ["a"], seed: 1, n: 2, logprobs: true, top_logprobs: 2, max_completion_tokens: 5,
      };
      const whole: OpenAI.ChatCompletion = await client.chat.completions.create(params);
      const streaming: OpenAI.ChatCompletionCreateParamsStreaming = { ...params, stream: true, stream_options: { include_usage: true } };
      const stream = await client.chat.completions.create(streaming);
      const chunks: OpenAI.ChatCompletionChunk[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      stream.controller.abort();
      const next: OpenAI.ChatCompletionMessageParam[] = [...params.messages, whole.choices[0]!.message];
      const completion: OpenAI.Completion = await client.completions.create({ model: "any", prompt: "x" } satisfies OpenAI.CompletionCreateParamsNonStreaming);
      const embedding: OpenAI.CreateEmbeddingResponse = await client.embeddings.create({ model: "any", input: ["x"] } satisfies OpenAI.EmbeddingCreateParams);
      const models: OpenAI.Model[] = (await client.models.list()).data;
      return { chunks, next, completion, embedding, models };
    }

    /** Code that is written for the part of OpenAI's client that it uses. */
    interface Asks {
      chat: { completions: { create(params: OpenAI.ChatCompletionCreateParamsNonStreaming): PromiseLike<OpenAI.ChatCompletion> } };
      embeddings: { create(params: OpenAI.EmbeddingCreateParams): PromiseLike<OpenAI.CreateEmbeddingResponse> };
    }
    export const either = (model: Model): Asks[] => [createClient(model), new OpenAI({ apiKey: "x" })];
  `;
  try {
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(web, join(folder, "node_modules", "foveate"));
    symlinkSync(join(web, "node_modules", "openai"), join(folder, "node_modules", "openai"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
    writeFileSync(join(folder, "ask.ts"), source);
    const lib = ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"];
    const compilerOptions = { noEmit: true, module: "NodeNext", target: "ES2022", lib, types: [], strict: true, skipLibCheck: true };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["ask.ts"] }));
    const tsc = join(web, "node_modules/typescript/bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, "--project", folder], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
