// The package in Firefox, on the CPU: Debian's Firefox has no WebGPU.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as firefox from "./firefox.mjs";
import * as support from "./support.mjs";

const skip = support.unless(firefox.executable, "Firefox") || support.skipGolden;

describe("the package in Firefox", { skip }, () => {
  let page, server;

  before(async () => {
    [page, server] = await Promise.all([firefox.launch(), support.serveAll()]);
    await goto(support.blankAt(server.url));
  });

  after(async () => {
    await page?.close();
    await server?.close();
  });

  const goto = async (url) => {
    await page.goto(url);
    await page.evaluate("async () => { while (!window.answer) await new Promise((done) => setTimeout(done, 50)); }");
  };

  const answer = (...args) => page.evaluate("(args) => window.answer(...args)", args);

  for (const worker of [true, false]) {
    test(`a small model gives the golden tokens ${worker ? "in a worker" : "without one"}`, async () => {
      const { prompt, greedy } = support.goldenTokens("llama");
      const got = await answer("/golden/models/llama/", { worker }, prompt, { maxTokens: 16 });
      assert.match(got.device, /^cpu, /);
      assert.deepEqual(got.ids, greedy.slice(0, 16));
    });
  }

  test("SmolLM2 gives the golden tokens, and the second load is from the cache", { skip: support.skipModel }, async (t) => {
    const { text, greedy } = support.smollm2Golden().prompts[0];
    for (const first of [true, false]) {
      const got = await page.evaluate(
        `async ({ source, text }) => {
          let fetched = 0;
          const model = await foveate.load(source, { cache: true, onProgress: (p) => (fetched = p.fetchedBytes) });
          const ids = [];
          for await (const { id } of model.generateTokens(text, { maxTokens: 16 })) ids.push(id);
          model.dispose();
          return { ids, fetched };
        }`,
        { source: `/models/${support.smollm2}`, text },
      );
      assert.deepEqual(got.ids, greedy.slice(0, 16));
      if (first) assert.ok(got.fetched > 90e6, `${got.fetched} bytes`);
      else assert.equal(got.fetched, 0);
    }
    t.diagnostic(await page.evaluate("async () => navigator.userAgent"));
  });

  test("golden ops on the CPU", async () => {
    const sources = support.goldenOps().map((name) => `/golden/ops/${name}`);
    const all = await page.evaluate(
      `async (sources) => {
        const cpu = await foveate.device("cpu");
        const all = [];
        for (const source of sources) all.push(...(await cpu.check(source)));
        cpu.dispose();
        return all;
      }`,
      sources,
    );
    assert.ok(all.length > 40);
    assert.deepEqual(all.filter(({ passed }) => !passed), []);
  });

  test("a missing GPU is reported in a sentence", async () => {
    const error = await page.evaluate("() => thrown(() => foveate.load('/golden/models/llama/', { device: 'gpu' }))");
    assert.equal(error.code, "device");
    assert.match(error.message, /no WebGPU|no GPU adapter/);
  });

  test("a page imports the package from another origin", async () => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const elsewhere = await support.serveAll(() => ({ shared: true }));
    try {
      await goto(support.blankAt(server.url, elsewhere.url));
      const got = await answer("/golden/models/llama/", {}, prompt, { maxTokens: 4 });
      assert.deepEqual(got.ids, greedy.slice(0, 4));
    } finally {
      await elsewhere.close();
    }
  });
});
