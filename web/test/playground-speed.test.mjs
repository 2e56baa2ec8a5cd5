// The page stays responsive while the CPU answers.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { answered, ask, inPlayground, lastAnswer, loaded, set } from "./playground.mjs";
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
      const frames = await page.evaluate(async () => {
        let frames = 0;
        while (document.querySelector(".turn.running")) {
          await new Promise(requestAnimationFrame);
          frames++;
        }
        return frames;
      });
      await answered(page);
      await client.send("Tracing.end");
      await complete;
      const names = new Map(events.filter(({ name }) => name === "thread_name").map(({ pid, tid, args }) => [`${pid}:${tid}`, args.name]));
      const pagePid = events.find(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain")?.pid;
      // Processor time, because other programs on this machine may hold the page up.
      const tasks = events.filter(({ name, pid, tid, tdur }) => name === "RunTask" && tdur > 0 && names.get(`${pid}:${tid}`) === "CrRendererMain");
      const longest = Math.max(...tasks.map(({ tdur }) => tdur / 1000));
      t.diagnostic(`${tasks.length} tasks, the longest ${longest.toFixed(1)} ms; ${frames} frames for ${(await lastAnswer(page)).length} characters`);
      assert.ok(pagePid !== undefined && tasks.length > 50, `${tasks.length} tasks`);
      assert.ok(longest < LONGEST, `${longest} ms`);
      assert.ok(frames > 20, `${frames} frames`);
    });
  });
});
