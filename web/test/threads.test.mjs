// The CPU executor with threads, in a cross-origin isolated page.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as support from "./support.mjs";

describe("threads in Chromium", { skip: support.skipBrowser || support.skipGolden }, () => {
  let browser, server, page;
  /** Path that the server answers with 404. */
  let missing;

  before(async () => {
    const on = ({ path }) => (path === missing ? { status: 404 } : { isolated: true });
    [browser, server] = await Promise.all([support.launch(), support.serveAll(on)]);
    page = await support.blank(browser, server.url);
  });

  after(() => Promise.all([browser?.close(), server?.close()]));

  const answer = (...args) => page.evaluate((args) => window.answer(...args), args);

  test("an isolated page gets the requested number of threads and the same tokens", async () => {
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

  test("SmolLM2 gives the golden tokens on two threads", { skip: support.skipModel }, async (t) => {
    const { text, greedy } = support.smollm2Golden().prompts[0];
    for (const threads of [1, 2]) {
      const got = await answer(`/models/${support.smollm2}`, { device: "cpu", threads }, text, { maxTokens: 24 });
      assert.deepEqual(got.ids, greedy.slice(0, 24));
      t.diagnostic(`${got.device}: first token after ${got.firstMs.toFixed()} ms, ${got.rate.toFixed(1)} tokens/s`);
    }
  });

  test("golden ops on three threads", async () => {
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

  test("sessions and saved sessions give the same tokens as on one thread", async () => {
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

  /** Waits until these are the scripts of all workers, nested ones included. Chromium may end a worker two seconds late. */
  const onlyRun = async (...scripts) => {
    const session = await browser.newBrowserCDPSession();
    let running;
    for (let tries = 0; tries < 250 && running?.join() !== scripts.join(); tries++) {
      const { targetInfos } = await session.send("Target.getTargets", { filter: [{ type: "worker" }] });
      // A target without an address never loaded a script.
      running = targetInfos.flatMap(({ url }) => url.replace(server.url, "") || []).sort();
      await new Promise((done) => setTimeout(done, 20));
    }
    await session.detach();
    assert.deepEqual(running, scripts);
  };

  const answers = async (device, ...scripts) => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const got = await page.evaluate(async (prompt) => {
      window.model = await foveate.load("/golden/models/llama/", { device: "cpu", threads: 3 });
      const ids = [];
      for await (const { id } of window.model.generateTokens(prompt, { maxTokens: 8 })) ids.push(id);
      return { ids, device: window.model.device };
    }, prompt);
    try {
      assert.match(got.device, device);
      assert.deepEqual(got.ids, greedy.slice(0, 8));
      await onlyRun(...scripts);
    } finally {
      await page.evaluate(() => window.model.dispose());
    }
    await onlyRun();
  };

  test("threads end with their model", () => answers(/^cpu, 3 threads/, "/dist/thread.js", "/dist/thread.js", "/dist/threaded.js"));

  test("if /dist/thread.js is missing, a model has one thread and leaves no worker behind", async () => {
    missing = "/dist/thread.js";
    await answers(/^cpu, 1 thread$/, "/dist/threaded.js").finally(() => (missing = undefined));
  });

  for (const [what, spoil] of Object.entries({
    "no memory can be shared": "WebAssembly.Memory = class extends WebAssembly.Memory { constructor(size) { if (size.shared) throw new RangeError('no memory'); super(size); } };",
    "a thread has no instance": "const { postMessage: post } = Worker.prototype; Worker.prototype.postMessage = function () { post.call(this, { module: null }); };",
  })) {
    test(`if ${what}, a model has one thread and leaves no worker behind`, async () => {
      const restore = await support.prefix(page, "**/dist/threaded.js", spoil);
      await answers(/^cpu, 1 thread$/, "/dist/threaded.js");
      await restore();
    });
  }

  test("no page logged errors", () => assert.deepEqual(page.complaints, []));
});
