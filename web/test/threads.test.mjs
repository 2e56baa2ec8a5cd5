// The CPU executor with threads, in a page that is cross-origin isolated.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as support from "./support.mjs";

describe("threads in Chromium", { skip: support.skipBrowser || support.skipGolden }, () => {
  let browser, server, page;

  before(async () => {
    [browser, server] = await Promise.all([support.launch(), support.serveAll(() => ({ isolated: true }))]);
    page = await support.blank(browser, server.url);
  });

  after(() => Promise.all([browser?.close(), server?.close()]));

  const answer = (...args) => page.evaluate((args) => window.answer(...args), args);

  test("a page that is isolated has as many as it asks for, and the same tokens", async () => {
    assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), true);
    const { prompt, greedy } = support.goldenTokens("llama");
    for (const [options, name] of [
      [{ threads: 3 }, /^cpu, 3 threads/],
      [{ threads: 1 }, /^cpu, 1 thread/],
      [{}, /^cpu, \d threads?/],
      [{ worker: false }, /^cpu, 1 thread/],
    ]) {
      const got = await answer("/golden/models/llama/", { device: "auto", ...options }, prompt, { maxTokens: 16 });
      assert.match(got.device, name);
      assert.deepEqual(got.ids, greedy.slice(0, 16));
    }
    const error = await page.evaluate(() => window.thrown(() => foveate.load("/golden/models/llama/", { threads: 0.5 })));
    assert.equal(error.code, "config");
  });

  test("SmolLM2 has the golden tokens on two", { skip: support.skipModel }, async (t) => {
    const { text, greedy } = support.smollm2Golden().prompts[0];
    for (const threads of [1, 2]) {
      const got = await answer(`/models/${support.smollm2}`, { device: "cpu", threads }, text, { maxTokens: 24 });
      assert.deepEqual(got.ids, greedy.slice(0, 24));
      t.diagnostic(`${got.device}: first token after ${got.firstMs.toFixed()} ms, ${got.rate.toFixed(1)} tokens/s`);
    }
  });

  test("golden ops on three", async () => {
    const sources = support.goldenOps().map((name) => `/golden/ops/${name}`);
    const { name, all } = await page.evaluate(async (sources) => {
      const cpu = await foveate.device("cpu", { threads: 3 });
      const all = [];
      for (const source of sources) all.push(...(await cpu.check(source)));
      const { name } = cpu;
      cpu.dispose();
      return { name, all };
    }, sources);
    assert.match(name, /3 threads/);
    assert.ok(all.length > 40);
    assert.deepEqual(all.filter(({ passed }) => !passed), []);
  });

  test("sessions, snapshots and files of sessions are as they are on one", async () => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const got = await page.evaluate(async (prompt) => {
      const model = await foveate.load("/golden/models/llama/", { threads: 2 });
      const session = await model.session({ context: 64 });
      await session.append(prompt);
      const saved = await session.save();
      const ids = [];
      for (const one of [session, await model.restore(saved, { context: 64 })]) {
        const own = [];
        for await (const { id } of one.generateTokens({ maxTokens: 4 })) own.push(id);
        ids.push(own);
      }
      model.dispose();
      return ids;
    }, prompt);
    assert.deepEqual(got, [greedy.slice(0, 4), greedy.slice(0, 4)]);
  });

  test("no page complained", () => assert.deepEqual(page.complaints, []));
});
