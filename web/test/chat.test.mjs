// Chats: sessions that read only what is new, results, tools and reasoning.

import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { after, before, describe, test } from "node:test";
import { load } from "../dist/index.js";
import * as support from "./support.mjs";
import { ADD, PLAIN, talking, THINKING } from "./talking.mjs";

const all = async (items) => {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
};

/** Answers of letters: noise would be no text, and its tokens other ones when it is read again. */
const letters = { logitBias: Object.fromEntries([..."abcdefgh"].map((letter) => [letter.charCodeAt(0), 60])) };

describe("chats of a small model", () => {
  let model;

  before(async () => (model = await load(talking())));
  after(() => model?.dispose());

  test("an answer has pieces, a result and counted tokens", async () => {
    const chat = await model.chat({ system: "Be short.", maxTokens: 8 });
    const answer = chat.send("Hello");
    const pieces = await all(answer);
    const { text, message, finishReason, usage, timing, reasoning, toolCalls } = await answer.result();
    assert.equal(pieces.join(""), text);
    assert.deepEqual([message, finishReason], [{ role: "assistant", content: text }, "length"]);
    assert.deepEqual([reasoning, toolCalls], ["", []]);
    const prompt = "system: Be short.\nuser: Hello\nassistant: ";
    assert.deepEqual(usage, { promptTokens: prompt.length, cachedTokens: 0, completionTokens: 8 });
    assert.ok(timing.firstTokenSeconds > 0 && timing.seconds >= timing.firstTokenSeconds, JSON.stringify(timing));
    assert.ok(timing.promptTokensPerSecond > 0 && timing.tokensPerSecond > 0, JSON.stringify(timing));
    assert.deepEqual(chat.messages, [{ role: "system", content: "Be short." }, { role: "user", content: "Hello" }, message]);
    chat.dispose();
  });

  test("a turn reads only what is new, and answers as from the start", async () => turns(model));

  test("so does a turn of a model with states, which go back to where an answer ended", async () => {
    const hybrid = await load(talking(PLAIN, ["delta", "routing", "attention"]));
    await turns(hybrid);
    hybrid.dispose();
  });

  const turns = async (model) => {
    const chat = await model.chat({ maxTokens: 6, ...letters });
    const first = await chat.send("x".repeat(400)).result();
    assert.equal(first.usage.cachedTokens, 0);
    const second = await chat.send("And?").result();
    const { promptTokens, cachedTokens } = second.usage;
    assert.ok(promptTokens > 400 && promptTokens - cachedTokens < 0.15 * promptTokens, JSON.stringify(second.usage));
    const again = await model.generate(chat.messages.slice(0, -1), { maxTokens: 6, ...letters }).result();
    assert.deepEqual([again.text, again.usage.cachedTokens], [second.text, 0]);
    // Another question in the place of the second one.
    chat.messages = chat.messages.slice(0, 2);
    const other = await chat.send("Why?").result();
    assert.ok(other.usage.cachedTokens > 400, JSON.stringify(other.usage));
    chat.dispose();
  };

  test("an answer that is left, aborted or refused leaves the conversation as it was", async () => {
    const chat = await model.chat({ maxTokens: 50 });
    await chat.send("One", { maxTokens: 2 }).result();
    const before = chat.messages;
    for await (const _ of chat.send("Two")) break;
    assert.deepEqual(chat.messages, before);
    const controller = new AbortController();
    const aborted = chat.send("Two", { signal: controller.signal });
    await aborted.next();
    controller.abort();
    await assert.rejects(aborted.next(), { code: "cancelled" });
    await assert.rejects(aborted.result(), { code: "cancelled" });
    await assert.rejects(chat.send("Two", { temperature: -1 }).result(), { code: "config" });
    await assert.rejects(chat.send("Two", { maxToken: 3 }).result(), { code: "config", message: /no option maxToken/ });
    await assert.rejects(chat.send([{ content: "no role" }]).result(), { code: "template" });
    const left = chat.send("Two");
    await left.next();
    await left.return();
    await assert.rejects(left.result(), { code: "cancelled" });
    assert.deepEqual(chat.messages, before);
    const running = chat.send("Two");
    await running.next();
    await assert.rejects(chat.send("Three").result(), { code: "config", message: /has not ended/ });
    assert.equal((await running.result()).message.role, "assistant");
    assert.equal(chat.messages.length, before.length + 2);
    await assert.rejects(model.chat([{ role: "user", content: "Hi" }]), { code: "config", message: /generate\(messages\)/ });
    chat.dispose();
    await assert.rejects(chat.send("Two").result(), { code: "closed" });
  });

  test("a full context drops the oldest turns, or is an error", async () => {
    let forgotten = 0;
    const chat = await model.chat({ context: 128, system: "Be short.", maxTokens: 4, onForget: (turns) => (forgotten += turns) });
    for (let turn = 0; turn < 4; turn++) await chat.send(`${turn}${"y".repeat(40)}`).result();
    assert.ok(forgotten >= 2, `${forgotten}`);
    assert.equal(chat.messages[0].content, "Be short.");
    assert.equal(chat.messages.length, 1 + 2 * (4 - forgotten));
    assert.ok(chat.messages.at(-2).content.startsWith("3"));
    await assert.rejects(chat.send("z".repeat(200)).result(), { code: "context-full" });
    chat.dispose();
    const strict = await model.chat({ context: 128, whenFull: "error", maxTokens: 4 });
    await strict.send("y".repeat(90)).result();
    await assert.rejects(strict.send("y".repeat(40)).result(), { code: "context-full" });
    strict.dispose();
  });

  test("messages are read ahead, counted, continued and forked", async () => {
    const chat = await model.chat({ maxTokens: 4, ...letters });
    await chat.append("z".repeat(100));
    const { usage } = await chat.send("Go on").result();
    assert.ok(usage.cachedTokens >= 100 && usage.promptTokens > usage.cachedTokens, JSON.stringify(usage));
    const count = await chat.countTokens();
    assert.equal((await chat.countTokens("abc")) - count, "user: abc\n".length);
    const fork = await chat.fork();
    const [one, two] = [await chat.send("1").result(), await fork.send("1").result()];
    assert.equal(one.text, two.text);
    assert.ok(two.usage.cachedTokens > 100, JSON.stringify(two.usage));
    const before = fork.messages.slice(0, -2);
    fork.messages = before;
    const sent = [{ role: "user", content: "1" }, { role: "assistant", content: "It is" }];
    const { text } = await fork.send(sent, { continueFinalMessage: true }).result();
    assert.deepEqual(fork.messages.at(-1), { role: "assistant", content: `It is${text}` });
    for (const each of [chat, fork]) each.dispose();
  });

  test("plain prompts have results, and several answers draw their own numbers", async () => {
    const { text, usage, message } = await model.generate("Once", { maxTokens: 5 }).result();
    assert.deepEqual(usage, { promptTokens: 4, cachedTokens: 0, completionTokens: 5 });
    assert.deepEqual(message, { role: "assistant", content: text });
    const draw = async (sequence) => (await model.generate("Once", { maxTokens: 12, temperature: 1.5, seed: 1, sequence }).result()).text;
    assert.equal(await draw(0), await draw(0));
    assert.notEqual(await draw(0), await draw(1));
    const events = await all(model.generateEvents("Once", { maxTokens: 3, logprobs: 1 }));
    assert.equal(events.filter(({ type, score }) => type === "token" && score.topLogprobs.length === 1).length, 3);
    assert.equal(events.map(({ type, text }) => (type === "text" ? text : "")).join("").length > 0, true);
    const session = await model.session();
    await session.append("Once");
    assert.equal((await session.generate({ maxTokens: 5 }).result()).text, text);
    session.dispose();
  });
});

describe("tools and reasoning of a small model", () => {
  let model;

  before(async () => (model = await load(talking(THINKING))));
  after(() => model?.dispose());

  const tools = [ADD];

  test("calls are parsed, streamed as events, and their results are put back", async () => {
    // Without blanks. The model knows no token that ends a text, so it calls as often as it may.
    const logitBias = Object.fromEntries([9, 10, 13, 32].map((blank) => [blank, -100]));
    for (const [toolChoice, count] of [["required", 16], [{ name: "add" }, 1]]) {
      const chat = await model.chat({ tools, toolChoice, thinking: false, context: 2048, maxTokens: 1600, logitBias });
      const answer = chat.sendEvents("Add 1 and 2");
      const events = await all(answer);
      const { toolCalls, finishReason, message, text } = await answer.result();
      assert.equal(finishReason, "tool_calls");
      assert.equal(text.trim(), "");
      assert.equal(toolCalls.length, count);
      toolCalls.forEach(({ id, name, arguments: { a, b } }, index) => {
        assert.ok(name === "add" && Number.isInteger(a) && a >= 0 && a <= 9 && (b === 1 || b === 2) && id.length > 0);
        const call = events.find((event) => event.type === "tool-call" && event.index === index);
        assert.deepEqual([call.id, call.name], [id, name]);
        const pieces = events.filter((event) => event.type === "tool-arguments" && event.index === index);
        assert.deepEqual(JSON.parse(pieces.map(({ text }) => text).join("")), { a, b });
      });
      assert.deepEqual(message.tool_calls[0].function, { name: "add", arguments: toolCalls[0].arguments });
      const results = toolCalls.slice(0, 1).map(({ id, name }) => ({ role: "tool", tool_call_id: id, name, content: "3" }));
      const next = await chat.send(results, { toolChoice: "none", maxTokens: 4 }).result();
      assert.ok(next.usage.promptTokens > 0 && chat.messages.length === 3 + results.length);
      chat.dispose();
    }
    await assert.rejects(model.generate([{ role: "user", content: "x" }], { toolChoice: "required" }).result(), { code: "config" });
    await assert.rejects(model.generate([{ role: "user", content: "x" }], { tools, toolChoice: { name: "sub" } }).result(), { code: "config" });
  });

  test("tools need a template that knows them", async () => {
    const plain = await load(talking());
    await assert.rejects(plain.generate([{ role: "user", content: "x" }], { tools }).result(), { code: "template" });
    plain.dispose();
  });

  test("reasoning is split from the answer, and ends with its budget", async () => {
    const messages = [{ role: "user", content: "Think." }];
    const answer = model.generateEvents(messages, { reasoningBudget: 6, maxTokens: 40 });
    const events = await all(answer);
    const { reasoning, text, usage, message } = await answer.result();
    assert.ok(reasoning.length > 0 && reasoning.length <= 8, JSON.stringify(reasoning));
    assert.equal(usage.completionTokens, 40);
    assert.ok(text.length > 0 && !text.includes("</think>"), JSON.stringify(text));
    assert.equal(events.filter(({ type }) => type === "reasoning").map(({ text }) => text).join(""), reasoning);
    assert.deepEqual(message, { role: "assistant", content: text, reasoning_content: reasoning });
    const without = await model.generate(messages, { thinking: false, maxTokens: 10 }).result();
    assert.equal(without.reasoning, "");
    const pieces = await all(model.generate(messages, { maxTokens: 10 }));
    assert.deepEqual(pieces, [], "all of it is reasoning");
    await assert.rejects(model.generate(messages, { reasoningBudget: -1 }).result(), { code: "config" });
  });
});

test("the second turn of a chat of 400 tokens with SmolLM2", { skip: support.skipModel }, async (t) => {
  const model = await load(await openAsBlob(support.modelPath(support.smollm2)));
  const chat = await model.chat({ system: "You are a helpful assistant.", maxTokens: 16 });
  const story = "The lighthouse keeper counted the ships that passed in the night, and wrote their names into a book. ".repeat(17);
  const first = await chat.send(`Here is a story: ${story} What did he count?`).result();
  const second = await chat.send("And where did he write it?").result();
  const { promptTokens, cachedTokens } = second.usage;
  const read = promptTokens - cachedTokens;
  t.diagnostic(`${promptTokens} tokens, ${cachedTokens} cached; first token after ${first.timing.firstTokenSeconds.toFixed(2)} s and ${second.timing.firstTokenSeconds.toFixed(2)} s`);
  assert.ok(promptTokens >= 380 && read < 0.15 * promptTokens, JSON.stringify(second.usage));
  const messages = chat.messages.slice(0, -1);
  const fresh = await model.generate(messages, { maxTokens: 16 }).result();
  assert.equal(fresh.text, second.text);
  assert.ok(second.timing.firstTokenSeconds < 0.5 * fresh.timing.firstTokenSeconds, `${second.timing.firstTokenSeconds} of ${fresh.timing.firstTokenSeconds} s`);
  t.diagnostic(`from the start: ${fresh.timing.firstTokenSeconds.toFixed(2)} s`);
  model.dispose();
});
