// The playground, used as a person uses it. Pictures go to the folder PICTURES.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as support from "./support.mjs";

describe("the playground", { skip: support.skipBrowser || support.skipModel }, () => {
  let browser, server, page;
  const complaints = [];

  before(async () => {
    [browser, server] = await Promise.all([support.launch(), support.serveAll()]);
    page = await browser.newPage({ viewport: { width: 900, height: 900 }, deviceScaleFactor: 2 });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    await page.goto(`${server.url}/`);
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("a model loads from an address, with progress", async () => {
    await page.getByLabel("Model URL").fill(`/models/${support.smollm2}`);
    await page.getByLabel("Device").selectOption("cpu");
    const progress = page.getByRole("progressbar", { name: "Loading the model" });
    await page.getByRole("button", { name: "Load" }).click();
    await progress.waitFor({ state: "visible" });
    await page.locator("#about").waitFor({ timeout: 60_000 });
    assert.match(await page.locator("#about-device").innerText(), /^cpu, /);
    assert.equal(await progress.isVisible(), false);
  });

  test("an answer streams, with token counts and speed", async () => {
    await page.getByLabel("Max tokens").fill("24");
    await page.getByLabel("Temperature").fill("0");
    await page.getByLabel("Prompt").fill("What is the capital of France?");
    await page.keyboard.press("Enter");
    const answer = page.locator(".turn.assistant");
    await page.waitForFunction(() => /\d tokens\/s/.test(document.getElementById("speed").textContent));
    const early = (await answer.innerText()).length;
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 120_000 });
    const text = await answer.innerText();
    assert.match(text, /Paris/);
    assert.ok(early < text.length, "it streamed");
    assert.match(await page.locator("#speed").innerText(), /^Prompt: \d+ tokens, 0 cached\. Generated: \d+ tokens, [\d.]+ tokens\/s$/);
  });

  test("a second turn reuses the cached tokens of the first", async () => {
    await page.getByLabel("Max tokens").fill(process.env.PICTURES ? "90" : "6");
    await page.getByLabel("Prompt").fill("Tell me more about that city.");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 120_000 });
    assert.equal(await page.locator(".turn").count(), 4);
    assert.ok((await page.locator(".turn.assistant").last().innerText()).length > 0);
    const [, prompt, cached] = (await page.locator("#speed").innerText()).match(/^Prompt: (\d+) tokens, (\d+) cached\. Generated: /);
    assert.ok(Number(cached) > Number(prompt) / 2, `${cached} of ${prompt}`);
    const generated = await page.evaluate(() => document.querySelectorAll(".strip .generated").length);
    assert.equal(generated, 1);
    const [segment] = await page.getByRole("list", { name: "Segments" }).getByRole("listitem").allInnerTexts();
    const [, length, last] = segment.match(/^text: (\d+) tokens, positions 0 to (\d+)$/);
    assert.ok(Number(length) > Number(prompt) && Number(last) === length - 1, segment);
    const share = (part) => page.evaluate((part) => Number(document.querySelector(`.strip ${part}`).style.flexGrow), part);
    const parts = [await share(".cached"), await share(".prefilled"), await share(".generated"), await share(".free")];
    assert.deepEqual(parts, [Number(cached), prompt - cached, length - prompt, 2048 - length]);
    const saved = /^Prompt: (\d+) tokens, (\d+) cached\. Prefill: (\d+) tokens in [\d.]+ s; the cache saved about [\d.]+ s\.$/;
    assert.deepEqual((await page.locator("#saved").innerText()).match(saved).slice(1), [prompt, cached, String(prompt - cached)]);
    await support.picture(page, "playground");
  });

  test("the last answer is regenerated, and an earlier message can be edited", async () => {
    await page.getByLabel("Max tokens").fill("4");
    const before = await page.locator(".turn.assistant").last().innerText();
    await page.getByLabel("Show probabilities").check();
    await page.getByRole("button", { name: "Regenerate" }).click();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 120_000 });
    assert.equal(await page.locator(".turn").count(), 4);
    const again = page.locator(".turn.assistant").last();
    assert.ok(before.startsWith((await again.innerText()).trim()), "greedy answers are the same");
    await page.waitForFunction(() => /^\d[\d.]* %; most likely: "/.test(document.querySelector(".token")?.title));
    await page.getByLabel("Show probabilities").uncheck();
    await page.getByRole("button", { name: "Edit this message" }).first().click();
    assert.equal(await page.locator(".turn").count(), 0);
    assert.equal(await page.getByLabel("Prompt").inputValue(), "What is the capital of France?");
    await page.getByLabel("Prompt").fill("What is the capital of Italy?");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 120_000 });
    assert.equal(await page.locator(".turn").count(), 2);
    // The system message and the start of the question are cached.
    const [, prompt, cached] = (await page.locator("#saved").innerText()).match(/^Prompt: (\d+) tokens, (\d+) cached\./).map(Number);
    assert.ok(cached > 20 && prompt - cached < 12, `${cached} of ${prompt}`);
  });

  test("latents are shown in the strip between segments of text", async () => {
    const drawn = await page.evaluate(async () => {
      const { drawSegments } = await import("./segments.js");
      const [strip, list] = ["div", "ol"].map((name) => document.createElement(name));
      const segments = [
        { kind: "text", start: 0, length: 6, position: 0 },
        { kind: "latent", start: 6, length: 2, position: 6 },
        { kind: "text", start: 8, length: 1, position: 9 },
      ];
      drawSegments(strip, list, segments, { context: 10, cachedTokens: 4, promptTokens: 6 });
      const parts = [...strip.querySelectorAll(".part")].map((part) => `${part.className} ${part.style.flexGrow}`);
      const says = [...list.children].map(({ textContent }) => textContent);
      drawSegments(strip, list, [], { context: 10 });
      return { parts, says, empty: list.textContent };
    });
    assert.deepEqual(drawn.parts, ["part cached 4", "part prefilled 2", "part latent 2", "part generated 1"]);
    assert.deepEqual(drawn.says, [
      "text: 6 tokens, positions 0 to 5",
      "latent: 2 tokens, positions 6 to 7",
      "text: 1 token, position 9",
    ]);
    assert.equal(drawn.empty, "empty, capacity 10 tokens");
  });

  test("ops are profiled, and shown with bars", async () => {
    await page.getByRole("button", { name: "Profile ops" }).click();
    await page.getByRole("button", { name: "Stop profiling" }).click();
    await page.getByRole("button", { name: "Profile ops" }).waitFor();
    assert.equal(await page.locator("#profiles table").count(), 0);
    await page.getByRole("button", { name: "Profile ops" }).click();
    await page.locator("#profiles table").first().waitFor({ timeout: 60_000 });
    const [prefill, decode] = await page.locator("#profiles caption").allInnerTexts();
    assert.match(prefill, /^Prefill, \d+ tokens: [\d.]+ (ms|s)$/);
    assert.match(decode, /^Decode, \d+ tokens: [\d.]+ (ms|s)$/);
    for (const table of await page.locator("#profiles table").all()) {
      const rows = await table.locator("tbody tr").evaluateAll((all) =>
        all.map((tr) => [tr.cells[0].textContent, parseFloat(tr.cells[1].textContent), Number(tr.cells[1].style.getPropertyValue("--share"))]),
      );
      const memory = await table.locator("tbody tr").evaluateAll((all) =>
        all.map(({ cells }) => [cells[3].textContent, Number(cells[3].style.getPropertyValue("--share"))]),
      );
      assert.ok(memory.every(([text, share]) => /^[\d.]+ [kMG]B$/.test(text) && share > 0 && share <= 1), `${memory}`);
      assert.ok(memory.some(([, share]) => share === 1));
      assert.ok(rows.some(([op]) => /^(fused_)?linear .*q4_1/i.test(op)), `${rows}`);
      assert.ok(Math.abs(rows.reduce((sum, [, percent]) => sum + percent, 0) - 100) < 1);
      assert.ok(rows.every(([, percent, share]) => Math.abs(percent - 100 * share) < 0.06));
    }
    assert.match(await page.locator("#profile-state").innerText(), /from the CPU clock/);
    assert.equal(await page.locator("#profile-error").isVisible(), false);
  });

  test("a downloaded model can be deleted", async () => {
    const item = page.getByRole("list", { name: "Downloaded models" }).getByRole("listitem");
    assert.match(await item.innerText(), /SmolLM2.*MB/);
    await page.getByRole("button", { name: /^Delete SmolLM2/ }).click();
    await item.waitFor({ state: "detached" });
  });

  test("the stop button ends an answer, and the chat can be cleared", async () => {
    await page.getByLabel("Max tokens").fill("400");
    await page.getByLabel("Prompt").fill("Tell me a long story.");
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".turn.assistant")[1]?.textContent.length > 0, null, {
      timeout: 60_000,
    });
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 2000 });
    assert.equal(await page.locator(".turn.running").count(), 0);
    assert.equal(await page.locator("#talk-error").isVisible(), false);
    await page.getByRole("button", { name: "New chat" }).click();
    assert.equal(await page.locator(".turn").count(), 0);
  });

  test("a dropped file is loaded", async () => {
    const dropped = await page.evaluateHandle(() => {
      const files = new DataTransfer();
      files.items.add(new File(["no model either"], "dropped.gguf"));
      return files;
    });
    await page.dispatchEvent("main", "dragover", { dataTransfer: dropped });
    assert.equal(await page.locator("#loader.target").count(), 1);
    await page.dispatchEvent("main", "drop", { dataTransfer: dropped });
    assert.equal(await page.locator("#loader.target").count(), 0);
    await page.waitForFunction(() => /dropped\.gguf is damaged: .* \(format\)/.test(document.getElementById("load-error").textContent));
  });

  test("a file that is not a model is refused with a message", async () => {
    const file = { name: "noise.gguf", mimeType: "application/octet-stream", buffer: Buffer.from("no model at all") };
    await page.locator("#file").setInputFiles(file);
    const error = page.locator("#load-error");
    await error.waitFor({ state: "visible" });
    assert.match(await error.innerText(), /noise\.gguf is damaged: .* \(format\)/);
  });

  test("the page fits a phone, has a dark mode and works with the keyboard", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark" });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, 360);
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [r, g, b] = background.match(/\d+/g).map(Number);
    assert.ok(r + g + b < 150, background);
    const unlabelled = await page.evaluate(() =>
      [...document.querySelectorAll("input, select, textarea")].filter((e) => e.labels.length === 0).map((e) => e.id),
    );
    assert.deepEqual(unlabelled, []);
    await page.getByLabel("Model URL").focus();
    for (const id of ["device", "load", "file"]) {
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.id), id);
    }
  });

  const faults = () => support.faults(page);

  test("axe-core finds no serious fault in light and dark mode", async () => {
    assert.deepEqual(await faults(), []);
    await page.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await faults(), []);
  });

  test("the kernels page runs an op on three executors", async () => {
    await page.getByRole("link", { name: "Kernels" }).click();
    await page.getByRole("button", { name: "Run" }).isEnabled();
    await page.getByLabel("Op", { exact: true }).selectOption("norm");
    await page.getByLabel("Settings").fill("T=16, dim=64");
    await page.getByRole("button", { name: "Run" }).click();
    const rows = page.locator("#results tr");
    await page.waitForFunction(
      () => document.querySelectorAll("#results td:nth-child(2)").length === 3 && !document.getElementById("run").disabled,
      null,
      { timeout: 60_000 },
    );
    for (const [i, device] of ["reference", "cpu", "gpu"].entries()) {
      const [, ms, error, name] = await rows.nth(i).locator("th, td").allInnerTexts();
      assert.match(ms, /^[\d.]+ ms$/);
      if (device !== "reference") assert.ok(Number(error) < 1e-5, `${device}: ${error}`);
      assert.match(name, device === "gpu" ? /^gpu/ : /./);
    }
    await page.setViewportSize({ width: 900, height: 900 });
    await support.picture(page, "kernels");
    await page.setViewportSize({ width: 360, height: 740 });
    assert.match(await page.locator("#args").innerText(), /x f32 \[16, 1, 64\], input|x f32 \[16, 64\], input/);
    await page.getByLabel("Settings").fill("tokens=1");
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator("#error").waitFor({ state: "visible" });
    assert.match(await page.locator("#error").innerText(), /norm has no setting tokens/);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await faults(), []);
    }
  });

  test("the kernels page draws time by length while measuring", async () => {
    await page.getByLabel("Settings").fill("dim=64");
    await page.getByLabel("Lengths").fill("T=64..512");
    const measure = page.getByRole("button", { name: "Measure" });
    await measure.click();
    await page.waitForFunction(() => document.querySelectorAll("#chart .cpu circle").length > 0);
    const state = page.locator("#sweep-state");
    await page.waitForFunction(() => /^Done/.test(document.getElementById("sweep-state").textContent), null, { timeout: 60_000 });
    const drawn = await page.evaluate(() => {
      const at = (kind) => [...document.querySelectorAll(`#chart .${kind} title`)].map(({ textContent }) => textContent);
      return { cpu: at("cpu"), gpu: at("gpu"), lines: document.querySelectorAll("#chart .fit").length };
    });
    const rows = await page.locator("#points tr").evaluateAll((all) => all.map((tr) => [...tr.cells].map((td) => td.textContent)));
    assert.deepEqual(rows.map(([length]) => length), ["64", "128", "256", "512"]);
    // The table and the chart show the same times.
    for (const [column, kind] of [[1, "cpu"], [2, "gpu"]]) {
      assert.deepEqual(drawn[kind], rows.map((row) => `T of norm = ${row[0]}: ${row[column]}`));
      assert.ok(rows.every((row) => /^[\d.]+ (µs|ms|s)$/.test(row[column])), `${rows}`);
    }
    assert.equal(drawn.lines, 2);
    const growth = await page.getByRole("list", { name: "Growth" }).getByRole("listitem").allInnerTexts();
    assert.match(growth[0], /^CPU: time grows as T\^-?\d\.\d\d$/);
    assert.match(growth[1], /^WebGPU: time grows as T\^-?\d\.\d\d$/);
    assert.match(await state.innerText(), /^Done; CPU T\^.*; WebGPU T\^/);
    const fitted = await page.evaluate(async () => {
      const { fit } = await import("./chart.js");
      return fit([1, 2, 4, 8].map((x) => [x, 3 * x ** 1.5]));
    });
    assert.ok(Math.abs(fitted.exponent - 1.5) < 1e-12 && Math.abs(fitted.factor - 3) < 1e-12);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    assert.deepEqual(await faults(), []);
  });

  test("a measurement can be stopped, ends in time, and refuses wrong ranges", async () => {
    await page.locator("#op").selectOption("attention");
    await page.getByLabel("Settings").fill("");
    await page.getByLabel("Lengths").fill("T=64..65536");
    await page.getByRole("button", { name: "Measure" }).click();
    await page.waitForFunction(() => document.querySelectorAll("#points tr").length > 1, null, { timeout: 60_000 });
    await page.getByRole("button", { name: "Stop" }).click();
    const state = page.locator("#sweep-state");
    await page.waitForFunction(() => /^Stopped/.test(document.getElementById("sweep-state").textContent), null, { timeout: 2000 });
    await page.getByLabel("Max seconds").fill("1");
    await page.getByRole("button", { name: "Measure" }).click();
    await page.waitForFunction(() => /^Done/.test(document.getElementById("sweep-state").textContent), null, { timeout: 60_000 });
    assert.match(await state.innerText(), /CPU: longer lengths exceed the time limit/);
    const error = page.locator("#sweep-error");
    for (const [lengths, what] of [["T=64", /NAME=FROM\.\.TO/], ["tokens_of=1..8", /no setting tokens_of.*\(config\)/]]) {
      await page.getByLabel("Lengths").fill(lengths);
      await page.getByRole("button", { name: "Measure" }).click();
      await error.waitFor({ state: "visible" });
      assert.match(await error.innerText(), what);
    }
  });

  test("the page logged no errors", () => assert.deepEqual(complaints, []));
});
