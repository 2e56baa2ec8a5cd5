// A page that imports the package from another origin, such as a CDN.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as support from "./support.mjs";

for (const isolated of [false, true]) {
  const name = isolated ? "isolated page" : "page that is not isolated";
  describe(`the package in Chromium, imported across origins: ${name}`, { skip: support.skipBrowser || support.skipGolden }, () => {
    let browser, own, elsewhere, page;
    const asked = [];

    before(async () => {
      [browser, own, elsewhere] = await Promise.all([
        support.launch(),
        support.serveAll(({ path }) => (asked.push(path), { isolated })),
        support.serveAll(() => ({ shared: true })),
      ]);
      page = await support.blank(browser, own.url, elsewhere.url);
    });

    after(() => Promise.all([browser?.close(), own?.close(), elsewhere?.close()]));

    test("a model generates in a worker", async () => {
      assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated), isolated);
      const { prompt, greedy } = support.goldenTokens("llama");
      for (const threads of [1, 2]) {
        const args = ["/golden/models/llama/", { device: "cpu", threads }, prompt, { maxTokens: 8 }];
        const got = await page.evaluate((args) => window.answer(...args), args);
        assert.match(got.device, isolated && threads === 2 ? /^cpu, 2 threads/ : /^cpu, 1 thread/);
        assert.deepEqual(got.ids, greedy.slice(0, 8));
      }
      assert.deepEqual(asked.filter((path) => /^\/(dist|pkg)\//.test(path)), []);
      assert.ok(asked.includes("/golden/models/llama/config.json"));
    });
  });
}
