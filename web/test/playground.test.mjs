// The playground as a person uses it. With SCREENSHOT=FILE it leaves a picture.

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
    await page.getByLabel("Address").fill(`/models/${support.smollm2}`);
    await page.getByLabel("Run on").selectOption("cpu");
    const progress = page.getByRole("progressbar", { name: "Loading the model" });
    await page.getByRole("button", { name: "Load" }).click();
    await progress.waitFor({ state: "visible" });
    await page.getByText("Running on").waitFor({ timeout: 60_000 });
    assert.match(await page.locator("#about-device").innerText(), /^cpu, /);
    assert.equal(await progress.isVisible(), false);
  });

  test("an answer streams, with its speed", async () => {
    await page.getByLabel("Tokens at most").fill("24");
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
    assert.match(await page.locator("#speed").innerText(), /^\d+ tokens, [\d.]+ tokens\/s$/);
  });

  test("a conversation goes on", async () => {
    await page.getByLabel("Tokens at most").fill(process.env.SCREENSHOT ? "90" : "6");
    await page.getByLabel("Prompt").fill("Tell me more about that city.");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 120_000 });
    assert.equal(await page.locator(".turn").count(), 4);
    assert.ok((await page.locator(".turn.assistant").last().innerText()).length > 0);
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  });

  test("the stop button ends an answer, and the next one begins", async () => {
    await page.getByLabel("Tokens at most").fill("400");
    await page.getByLabel("Prompt").fill("Tell me a long story.");
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".turn.assistant")[2]?.textContent.length > 0, null, {
      timeout: 60_000,
    });
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 2000 });
    assert.equal(await page.locator(".turn.running").count(), 0);
    assert.equal(await page.locator("#talk-error").isVisible(), false);
    await page.getByRole("button", { name: "Clear" }).click();
    assert.equal(await page.locator(".turn").count(), 0);
  });

  test("a file that is no model is refused in words", async () => {
    const file = { name: "noise.gguf", mimeType: "application/octet-stream", buffer: Buffer.from("no model at all") };
    await page.locator("#file").setInputFiles(file);
    const error = page.locator("#load-error");
    await error.waitFor({ state: "visible" });
    assert.match(await error.innerText(), /noise\.gguf is damaged: .* \(format\)/);
  });

  test("a phone's width, the dark and the keyboard are provided for", async () => {
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
    await page.getByLabel("Address").focus();
    for (const id of ["device", "load", "file"]) {
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.id), id);
    }
  });

  test("the page did not complain", () => assert.deepEqual(complaints, []));
});
