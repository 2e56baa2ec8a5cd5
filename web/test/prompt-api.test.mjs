// The `LanguageModel` of the Prompt API, in a page that is written for Chrome's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "../dist/index.js";
import { createLanguageModel } from "../dist/prompt-api.js";
import * as support from "./support.mjs";
import { ADD, sent, talking, TOOLS } from "./talking.mjs";

support.inChromium("the Prompt API in Chromium", support.skipBrowser, ({ tab, url }) => {
  test("a page written for Chrome runs unchanged", async () => {
    const files = await sent(talking());
    const page = await tab().context().browser().newPage();
    await page.addInitScript((files) => {
      window.source = async () => {
        const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        return files.map(([name, text]) => new File([bytes(text)], name));
      };
    }, files);
    await page.goto(`${url()}/test/prompt-api.html`);
    await page.waitForFunction(() => window.seen?.done, null, { timeout: 120_000 });
    const seen = await page.evaluate(() => window.seen);
    await page.close();
    assert.equal(seen.failed, undefined);
    assert.deepEqual([seen.before, seen.images, seen.after], ["downloadable", "unavailable", "available"]);
    assert.deepEqual(seen.params, ["number", true]);
    assert.equal(seen.progress[0], 0);
    assert.equal(seen.progress.at(-1), 1);
    assert.ok(seen.progress.every((share, i) => share >= 0 && share <= 1 && share >= (seen.progress[i - 1] ?? 0)), `${seen.progress}`);
    assert.deepEqual(seen.settings, [1, 3, 1024]);
    assert.ok(seen.usage[0] > 60 && seen.usage[1] > seen.usage[0], `${seen.usage}`);
    assert.ok(seen.measured > "And of France?".length && seen.measured < 40, `${seen.measured}`);
    assert.ok(seen.rating.rating >= 0 && seen.rating.rating <= 5);
    assert.ok(["yes", "no"].includes(seen.word));
    assert.deepEqual([seen.cloned, seen.aborted, seen.streamed], [true, "AbortError", true]);
    assert.match(seen.prefixed, /^[abc]$/);
    assert.ok(seen.overflows >= 2 && seen.overflows % 2 === 0, `${seen.overflows}`);
    assert.deepEqual([seen.tooLong, seen.queued, seen.destroyed], ["QuotaExceededError", "ab", "InvalidStateError"]);
    assert.deepEqual(seen.errors, ["NotSupportedError", "TypeError", "AbortError", "NotSupportedError"]);
  });
});

test("tools are called, and their results are put back, until the model answers", async () => {
  const model = await load(talking(TOOLS));
  const [calls, controller] = [[], new AbortController()];
  const { name, description, parameters } = ADD.function;
  const execute = (input) => {
    calls.push(input);
    if (calls.length === 3) controller.abort();
    return input.a + input.b;
  };
  const session = await createLanguageModel(model).create({ tools: [{ name, description, inputSchema: parameters, execute }] });
  // The constraint makes every answer a call: so this ends by the third one.
  const call = /<tool_call>\{"name": "add", "arguments": \{"a": 1, "b": 2\}\}<\/tool_call>/;
  await assert.rejects(session.prompt("Add", { responseConstraint: call, signal: controller.signal }), { name: "AbortError" });
  assert.deepEqual(calls, new Array(3).fill({ a: 1, b: 2 }));
  assert.equal(await session.prompt("Add", { responseConstraint: /three/ }), "three");
  session.destroy();
  model.dispose();
});
