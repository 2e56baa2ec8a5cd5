// States of layers, in the API and in the playground, with a small model that has a layer of each kind.

import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { load } from "../dist/index.js";
import { answered, ask, fits, loaded, set } from "./playground.mjs";
import { layers, smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

const TEXT = "It was the best of times, it was the worst of times.";

const small = smallFolder();
after(() => rmSync(small, { recursive: true }));

const files = () => ["config.json", "model.safetensors", "tokenizer.json"].map((name) => new File([readFileSync(join(small, name))], name));

/** Returns the 32-bit words of a tensor in a safetensors file. */
function words(file, name) {
  const length = Number(file.readBigUInt64LE(0));
  const [from, to] = JSON.parse(file.subarray(8, 8 + length).toString())[name].data_offsets.map((at) => 8 + length + at);
  return new Uint32Array(file.buffer.slice(file.byteOffset + from, file.byteOffset + to));
}

test("the state of a layer equals the one in a saved session", async () => {
  const model = await load(files());
  assert.deepEqual(model.layers, layers);
  const session = await model.session({ context: 128 });
  const [delta, routing] = [await session.state(0), await session.state(1)];
  assert.ok(delta.values.length === 2 * 24 * 32 && delta.values.every((x) => x === 0));
  assert.deepEqual(routing.members, [[], []].map(() => Array.from({ length: 4 }, () => new Uint32Array())));
  await session.append(TEXT);
  for await (const _ of session.generateTokens({ maxTokens: 5 }));
  const [after, members] = [await session.state(0), (await session.state(1)).members];
  const { length } = await session.tokens();
  // Saving reads the last token, so states are compared after saving.
  const restored = await model.restore(await session.save(), { context: 128 });
  const file = Buffer.from(await (await session.save()).arrayBuffer());
  const saved = await restored.state(0);
  assert.deepEqual(new Uint32Array(saved.values.slice().buffer), words(file, "states.0"));
  assert.notDeepEqual(saved.values, after.values);
  const state = words(file, "states.2");
  const each = state.length / 8;
  const now = (await restored.state(1)).members;
  for (const [h, head] of now.entries()) {
    for (const [c, tokens] of head.entries()) {
      const own = state.subarray((4 * h + c) * each);
      assert.deepEqual(tokens, own.slice(1, 1 + own[0]));
      assert.ok(tokens.length <= 6 && tokens.every((t, i) => t < length && (i === 0 || tokens[i - 1] < t)));
      assert.ok(members[h][c].every((t) => t < length - 1), "the last token is not read yet");
    }
  }
  assert.ok(members.flat().some((tokens) => tokens.length === 6));
  for (const layer of [2, 3, -1, 0.5, "x"]) await assert.rejects(session.state(layer), { name: "FoveateError", code: "config" });
  model.dispose();
});

describe("in Chromium", { skip: support.skipBrowser }, () => {
  let browser, server;
  const complaints = [];

  before(async () => {
    [browser, server] = await Promise.all([support.launch(), support.serveAll(undefined, { "/small/": small })]);
  });

  after(() => Promise.all([browser?.close(), server?.close()]));

  test("states in a page equal those in Node.js", async () => {
    const page = await support.blank(browser, server.url);
    const got = await page.evaluate(async (text) => {
      const model = await foveate.load("/small/", { device: "cpu" });
      const session = await model.session({ context: 128 });
      await session.append(text);
      const [delta, routing] = [await session.state(0), await session.state(1)];
      model.dispose();
      return { values: [...delta.values], members: routing.members.map((head) => head.map((tokens) => [...tokens])) };
    }, TEXT);
    const model = await load(files());
    const session = await model.session({ context: 128 });
    await session.append(TEXT);
    assert.deepEqual(got.values, [...(await session.state(0)).values]);
    assert.deepEqual(got.members, (await session.state(1)).members.map((head) => head.map((tokens) => [...tokens])));
    model.dispose();
    assert.deepEqual(page.complaints, []);
    await page.close();
  });

  describe("the playground", () => {
    let page;

    before(async () => {
      page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
      await page.goto(`${server.url}/playground/?device=cpu&model=/small/`);
      await loaded(page);
      await set(page, { maxTokens: 12, temperature: 0 });
      await page.getByRole("button", { name: "Look inside" }).click();
      await ask(page, TEXT);
      await answered(page);
      await page.locator(".strip .generated").waitFor();
    });

    /** Returns the heat map's pixels, row by row. */
    const pixels = () =>
      page.evaluate(() => {
        const canvas = document.getElementById("heat");
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
      });

    test("a head's state is a heat map that is updated at every token", async () => {
      const says = page.locator("#state-says");
      const read = TEXT.length + 11;
      await page.waitForFunction((text) => document.getElementById("state-says").textContent.includes(text), `after ${read} tokens`);
      assert.match(await says.innerText(), /^Head 1 after \d+ tokens: 24 keys \(rows\) by 32 values \(columns\), root mean square 0\.\d+\.$/);
      const now = await pixels();
      assert.equal(now.length, 4 * 24 * 32);
      assert.ok(now.some((x, i) => i % 4 === 3 && x > 25));
      const slider = page.getByLabel("Step");
      assert.equal(Number(await slider.getAttribute("max")), 13, "the empty state, the prompt, and each token of the answer");
      await slider.focus();
      await page.keyboard.press("Home");
      await page.waitForFunction(() => document.getElementById("state-says").textContent.includes("after 0 tokens"));
      assert.ok((await pixels()).every((x, i) => i % 4 < 3 || x === 0));
      await page.keyboard.press("ArrowRight");
      await page.waitForFunction((text) => document.getElementById("state-says").textContent.includes(text), `after ${TEXT.length - 1} tokens`);
      assert.notDeepEqual(await pixels(), now);
      await page.locator("#head").selectOption({ value: "1" });
      await page.waitForFunction(() => /^Head 2/.test(document.getElementById("state-says").textContent));
      assert.notDeepEqual(await pixels(), now);
    });

    test("a routing head shows the tokens of its centroids", async () => {
      await page.locator("#layer").selectOption("1");
      await page.locator(".routed-token").first().waitFor();
      const { texts, counts, held } = await page.evaluate(() => ({
        texts: [...document.querySelectorAll(".routed-token")].map((span) => span.firstChild.textContent),
        held: [...document.querySelectorAll(".routed-token")].map(({ title }) => title),
        counts: [...document.querySelectorAll("#members li")].map((li) => li.textContent),
      }));
      assert.ok(texts.join("").startsWith(TEXT.slice(0, -1)));
      assert.equal(counts.length, 4);
      for (const [c, text] of counts.entries()) {
        const [, number] = text.match(/^centroid \d: (\d) of 6 tokens$/);
        const with_ = held.filter((title) => title.startsWith("centroid") && title.match(/\d+/g).includes(String(c + 1)));
        assert.equal(with_.length, Number(number));
      }
    });

    test("latents are inserted before an answer and shown in the strip", async () => {
      await page.getByRole("spinbutton", { name: "Latents" }).fill("3");
      await page.getByRole("button", { name: "Regenerate" }).click();
      await page.waitForFunction(() => /Latents were inserted before the answer\.$/.test(document.getElementById("saved").textContent));
      await answered(page);
      await page.locator(".strip .generated").waitFor();
      const segments = await page.getByRole("list", { name: "Segments" }).getByRole("listitem").allInnerTexts();
      const before = TEXT.length - 1;
      assert.deepEqual(segments.slice(0, 2), [
        `text: ${before} tokens, positions 0 to ${before - 1}`,
        `latent: 3 tokens, positions ${before} to ${before + 2}`,
      ]);
      assert.match(segments[2], /^text: 1[0-3] tokens/);
      const parts = await page.evaluate(() => [...document.querySelectorAll(".strip .part")].map(({ className }) => className));
      // No state of this model is kept in front of an answer, so the text is read again.
      assert.deepEqual(parts, ["part prefilled", "part latent", "part prefilled", "part generated"].slice(0, parts.length));
    });

    test("the states fit a phone and have no serious accessibility fault", async () => {
      await page.setViewportSize({ width: 390, height: 740 });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const layer of ["0", "1"]) {
          await page.locator("#layer").selectOption(layer);
          await page.locator(layer === "0" ? "#heat" : "#routed").waitFor();
          await fits(page);
          assert.deepEqual(await support.faults(page), []);
        }
      }
      assert.deepEqual(complaints, []);
    });
  });
});
