// The playground in Firefox, on the CPU.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as firefox from "./firefox.mjs";
import * as support from "./support.mjs";

const skip = support.unless(firefox.executable, "Firefox") || support.skipModel;

describe("the playground in Firefox", { skip }, () => {
  let page, server;

  before(async () => {
    [page, server] = await Promise.all([firefox.launch(), support.serveAll(() => ({ isolated: true }))]);
    await page.goto(`${server.url}/playground/?device=cpu&model=/models/${support.smollm2}`);
  });

  after(async () => {
    await page?.close();
    await server?.close();
  });

  /** Waits until a selector matches, and returns the text of the last match. */
  const text = (selector) =>
    page.evaluate(
      `async (selector) => {
        for (;;) {
          const found = [...document.querySelectorAll(selector)].at(-1);
          if (found) return found.textContent;
          await new Promise((done) => setTimeout(done, 50));
        }
      }`,
      selector,
    );

  const ask = (question) =>
    page.evaluate(
      `async (question) => {
        document.getElementById("prompt").value = question;
        document.getElementById("ask").requestSubmit();
      }`,
      question,
    );

  test("answers, isolated, and keeps the conversation and the model", async () => {
    await text("body.with-model");
    await page.evaluate(`async () => {
      for (const [name, value] of [["maxTokens", 12], ["temperature", 0]]) {
        const field = document.getElementById("set-" + name);
        field.value = value;
        field.dispatchEvent(new Event("change"));
      }
    }`);
    await ask("What is the capital of France?");
    await text(".turn.assistant:not(.running) .foot");
    assert.match(await text(".turn.assistant .markdown"), /Paris/);
    assert.equal(await page.evaluate("async () => crossOriginIsolated"), true);
    await page.evaluate("async () => new Promise((done) => setTimeout(done, 500))");
    await page.goto(`${server.url}/playground/?device=cpu`);
    assert.equal(await text(".conversation"), "What is the capital of France?");
    await page.evaluate('async () => document.querySelector(".conversation").click()');
    assert.match(await text(".turn.assistant .markdown"), /Paris/);
    await ask("And of Italy?");
    await text(".turn:nth-child(4).assistant:not(.running) .foot");
    assert.ok((await text(".turn.assistant .markdown")).length > 0);
  });

  test("draws maths and code", async () => {
    const html = await page.evaluate(`async () => {
      // Scripts of the driver cannot import modules.
      const script = document.createElement("script");
      Object.assign(script, { type: "module", textContent: 'import { Markdown } from "./chat/markdown.js"; window.Markdown = Markdown;' });
      document.body.append(script);
      while (!window.Markdown) await new Promise((done) => setTimeout(done, 50));
      const place = document.createElement("div");
      document.body.append(place);
      new Markdown(place).update("$x^2$ and\\n\\n\`\`\`js\\nlet a = 1;\\n\`\`\`");
      while (!place.querySelector("math") || !place.querySelector(".hljs-keyword")) await new Promise((done) => setTimeout(done, 50));
      return place.innerHTML;
    }`);
    assert.match(html, /<msup>/);
  });
});
