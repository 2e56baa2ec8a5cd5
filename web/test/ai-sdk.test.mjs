// The provider of the Vercel AI SDK, by the SDK's own functions and types.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { embed, embedMany, generateObject, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { load } from "../dist/index.js";
import { createFoveate } from "../dist/ai-sdk.js";
import { ADD, talking, THINKING } from "./talking.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const messages = [{ role: "user", content: "Hello" }];

describe("the AI SDK's provider", () => {
  let model, thinking, foveate;

  before(async () => {
    [model, thinking] = await Promise.all([load(talking()), load(talking(THINKING))]);
    foveate = createFoveate({ small: model, thinking });
  });
  after(() => [model, thinking].forEach((each) => each?.dispose()));

  test("generateText and streamText give the model's answer and its usage", async () => {
    const { text: expected } = await model.generate(messages, { maxTokens: 8 }).result();
    const { text, finishReason, usage, warnings } = await generateText({ model: foveate("small"), prompt: "Hello", maxOutputTokens: 8 });
    assert.deepEqual([text, finishReason, warnings ?? []], [expected, "length", []]);
    assert.deepEqual([usage.inputTokens, usage.outputTokens], ["user: Hello\nassistant: ".length, 8]);
    const streamed = streamText({ model: foveate.languageModel("small"), prompt: "Hello", maxOutputTokens: 8 });
    let pieces = "";
    for await (const piece of streamed.textStream) pieces += piece;
    assert.equal(pieces, expected);
    assert.equal(await streamed.finishReason, "length");
  });

  test("settings reach the model, and unknown models are errors", async () => {
    const ask = async (settings) => (await generateText({ model: foveate("small"), prompt: "Hello", maxOutputTokens: 12, ...settings })).text;
    assert.equal(await ask({ temperature: 1.5, seed: 5 }), await ask({ temperature: 1.5, seed: 5 }));
    assert.notEqual(await ask({ temperature: 1.5, seed: 5 }), await ask({ temperature: 1.5, seed: 6 }));
    const text = await ask({});
    assert.equal(await ask({ stopSequences: [text.slice(3, 5)] }), text.slice(0, text.indexOf(text.slice(3, 5))));
    assert.throws(() => foveate("large"), { code: "config" });
    assert.throws(() => foveate.imageModel("small"), { code: "unsupported" });
    await assert.rejects(ask({ prompt: "x".repeat(5000), maxRetries: 0 }), /context/);
    await assert.rejects(ask({ abortSignal: AbortSignal.abort(), maxRetries: 0 }));
  });

  test("objects follow their schema", async () => {
    const properties = { ok: { type: "boolean" }, size: { type: "integer", minimum: 1, maximum: 9 } };
    const schema = jsonSchema({ type: "object", properties, required: ["ok", "size"], additionalProperties: false });
    const { object } = await generateObject({ model: foveate("small"), schema, prompt: "An object, please" });
    assert.ok(typeof object.ok === "boolean" && object.size >= 1 && object.size <= 9, JSON.stringify(object));
    const { output } = await generateText({ model: foveate("small"), output: Output.object({ schema }), prompt: "An object, please" });
    assert.deepEqual(output, object);
  });

  test("tools are called, and their results are put back", async () => {
    const calls = [];
    const { name, description, parameters } = ADD.function;
    const add = tool({
      description,
      inputSchema: jsonSchema(parameters),
      execute: async (input) => (calls.push(input), input.a + input.b),
    });
    const settings = { model: foveate("thinking"), tools: { [name]: add }, toolChoice: { type: "tool", toolName: name }, prompt: "Add", reasoning: "none" };
    const { toolCalls, toolResults, finishReason, steps } = await generateText(settings);
    assert.equal(finishReason, "tool-calls");
    assert.ok(toolCalls.length >= 1 && toolCalls.every((call) => call.toolName === "add" && call.input.b <= 2));
    assert.deepEqual(toolResults.map(({ output }) => output), calls.map(({ a, b }) => a + b));
    assert.equal(steps.length, 1);
    const prompt = [
      { role: "user", content: "Add" },
      { role: "assistant", content: [{ type: "tool-call", toolCallId: "1", toolName: "add", input: { a: 1, b: 2 } }] },
      { role: "tool", content: [{ type: "tool-result", toolCallId: "1", toolName: "add", output: { type: "text", value: "3" } }] },
    ];
    const next = await generateText({ model: foveate("thinking"), messages: prompt, maxOutputTokens: 4, reasoning: "none" });
    assert.equal(next.finishReason, "length");
    const streamed = streamText(settings);
    const types = [];
    for await (const part of streamed.fullStream ?? streamed.stream) types.push(part.type);
    for (const type of ["tool-input-start", "tool-input-delta", "tool-input-end", "tool-call", "tool-result"]) assert.ok(types.includes(type), `${type} in ${types}`);
  });

  test("reasoning is told apart", async () => {
    const { reasoningText, text } = await generateText({ model: foveate("thinking"), prompt: "Think", maxOutputTokens: 8 });
    assert.ok(reasoningText.length > 0 && text === "");
  });

  test("embeddings", async () => {
    const { embeddings, usage } = await embedMany({ model: foveate.embeddingModel("small"), values: ["a cat", "a dog"] });
    assert.deepEqual(embeddings.map((vector) => vector.length), [model.width, model.width]);
    assert.equal(usage.tokens, 10);
    const { embedding } = await embed({ model: foveate.embeddingModel("small"), value: "a cat" });
    assert.deepEqual(embedding, embeddings[0]);
    assert.deepEqual(embedding, [...(await model.embed("a cat"))]);
  });
});

test("the SDK's types accept the provider", () => {
  const folder = mkdtempSync(join(tmpdir(), "ai-sdk-"));
  const source = `
    import type { EmbeddingModelV4, LanguageModelV4 } from "@ai-sdk/provider";
    import { embedMany, generateText, streamText } from "ai";
    import type { Model } from "foveate";
    import { createFoveate } from "foveate/ai-sdk";

    export async function ask(model: Model) {
      const foveate = createFoveate({ small: model });
      const language: LanguageModelV4 = foveate("small");
      const embedding: EmbeddingModelV4 = foveate.embeddingModel("small");
      const { text } = await generateText({ model: foveate("small"), prompt: "Hello" });
      const { embeddings } = await embedMany({ model: foveate.embeddingModel("small"), values: [text] });
      return [streamText({ model: language, prompt: "Hello" }), embedding, embeddings];
    }
  `;
  try {
    mkdirSync(join(folder, "node_modules", "@ai-sdk"), { recursive: true });
    symlinkSync(web, join(folder, "node_modules", "foveate"));
    for (const name of ["ai", "@ai-sdk/provider"]) symlinkSync(join(web, "node_modules", name), join(folder, "node_modules", name));
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
