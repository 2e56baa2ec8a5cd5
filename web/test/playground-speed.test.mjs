// The page stays responsive while the CPU or the GPU answers.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, describe, test } from "node:test";
import { answered, ask, counts, frames, inPlayground, lastAnswer, loaded, set } from "./playground.mjs";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

/** Longest task that is not felt, in ms. */
const LONGEST = 50;

describe("while the CPU answers", { skip: support.skipBrowser || support.skipModel }, () => {
  inPlayground({ path: `/playground/?model=/models/${support.smollm2}`, opened: loaded }, (it) => {
    test("no task of the page takes over 50 ms of processor time, and frames are drawn", async (t) => {
      const { page } = it;
      await set(page, { maxTokens: 120, temperature: 0 });
      // Code and tables are drawn by modules that are loaded at their first use.
      await ask(page, "Write a Python function that adds two numbers, in a code block.");
      await page.locator(".turn.running .block").first().waitFor({ timeout: 60_000 });
      const client = await it.context.newCDPSession(page);
      const events = [];
      client.on("Tracing.dataCollected", ({ value }) => events.push(...value));
      const complete = new Promise((done) => client.once("Tracing.tracingComplete", done));
      await client.send("Tracing.start", { traceConfig: { includedCategories: ["toplevel", "disabled-by-default-devtools.timeline", "__metadata"] } });
      const drawn = await frames(page);
      await answered(page);
      await client.send("Tracing.end");
      await complete;
      const names = new Map(events.filter(({ name }) => name === "thread_name").map(({ pid, tid, args }) => [`${pid}:${tid}`, args.name]));
      const pagePid = events.find(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain")?.pid;
      // Processor time, because other programs on this machine may hold the page up.
      const tasks = events.filter(({ name, pid, tid, tdur }) => name === "RunTask" && tdur > 0 && names.get(`${pid}:${tid}`) === "CrRendererMain");
      const longest = Math.max(...tasks.map(({ tdur }) => tdur / 1000));
      t.diagnostic(`${tasks.length} tasks, the longest ${longest.toFixed(1)} ms; ${drawn} frames for ${(await lastAnswer(page)).length} characters`);
      assert.ok(pagePid !== undefined && tasks.length > 50, `${tasks.length} tasks`);
      assert.ok(longest < LONGEST, `${longest} ms`);
      assert.ok(drawn > 20, `${drawn} frames`);
    });
  });
});

const small = smallFolder();
after(() => rmSync(small, { recursive: true }));

describe("while SwiftShader answers", { skip: support.skipBrowser }, () => {
  inPlayground({ path: "/playground/?model=/small/", device: "gpu", mounts: { "/small/": small }, opened: loaded }, (it) => {
    test("frames are drawn", async (t) => {
      const { page } = it;
      assert.match(await page.locator("#device").innerText(), /^gpu, /);
      await set(page, { maxTokens: 24, temperature: 0 });
      await ask(page, "It was the best of times.");
      const began = performance.now();
      const drawn = await frames(page);
      const seconds = (performance.now() - began) / 1000;
      await answered(page);
      assert.equal((await counts(page)).generated, 24);
      t.diagnostic(`${drawn} frames in ${seconds.toFixed(1)} s`);
      assert.ok(drawn / seconds > 5, `${drawn} frames in ${seconds} s`);
    });
  });
});
