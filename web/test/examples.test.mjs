// The pages of examples/, each with a real model.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import * as support from "./support.mjs";

const examples = new URL("../examples/", import.meta.url);
const gemma3 = "gemma-3-270m-q4_k_m.gguf";

test("each example is shorter than 150 lines", () => {
  const pages = readdirSync(examples).filter((name) => name.endsWith(".html"));
  assert.ok(pages.length >= 3);
  for (const name of pages) {
    const lines = readFileSync(new URL(name, examples), "utf8").split("\n").length;
    assert.ok(lines < 150, `${name}: ${lines} lines`);
  }
});

describe("examples in Chromium", { skip: support.skipBrowser || support.skipModel }, () => {
  let browser, server;

  before(async () => {
    [browser, server] = await Promise.all([support.launch(), support.serveAll(() => ({ isolated: true }))]);
  });

  after(() => Promise.all([browser?.close(), server?.close()]));

  /** Opens a page with a model, and waits until it is ready. */
  async function open(name, model) {
    const page = await browser.newPage();
    page.complaints = [];
    page.on("pageerror", (error) => page.complaints.push(String(error)));
    await page.goto(`${server.url}/examples/${name}.html?model=/models/${model}`);
    await page.getByText("Ready, on cpu").waitFor({ timeout: 180_000 });
    return page;
  }

  test("search: a question finds the note that answers it", async () => {
    const page = await open("search", support.smollm2);
    await page.getByLabel("Search for").fill("How do I make breakfast with eggs and milk?");
    const first = page.locator("#results li").first();
    await first.waitFor({ timeout: 180_000 });
    assert.equal(await first.textContent(), "A recipe of pancakes with milk, flour and eggs");
    assert.deepEqual(page.complaints, []);
    await page.close();
  });

  test("form: the fields have what the text says", async () => {
    const page = await open("form", support.smollm2);
    await page.getByRole("button", { name: "Fill the form" }).click();
    await page.getByText("Filled. Please check it.").waitFor({ timeout: 180_000 });
    const filled = await page.evaluate(() => Object.fromEntries(new FormData(document.getElementById("form"))));
    assert.deepEqual([filled.name, filled.guests, filled.day], ["Maria Lopez", "4", "Friday"]);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });

  test("translate: a sentence follows the examples", async () => {
    const page = await open("translate", gemma3);
    await page.getByLabel("English", { exact: true }).fill("The house is very big.");
    await page.locator("#translation", { hasText: "." }).waitFor({ timeout: 180_000 });
    assert.match(await page.locator("#translation").textContent(), /^La maison est très grande\.$/);
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
});
