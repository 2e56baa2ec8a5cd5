// The playground's first page and its chat, used as a person uses them.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { after, describe, test } from "node:test";
import { answered, ask, counts, fits, inPlayground, lastAnswer, loaded, message, set } from "./playground.mjs";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

const small = smallFolder();
after(() => rmSync(small, { recursive: true }));

describe("the playground", { skip: support.skipBrowser || support.skipModel }, () => {
  inPlayground({ mounts: { "/small/": small }, on: ({ path }) => (path.startsWith("/hub/") ? { delay: 120 } : undefined) }, (it) => {
    test("the first page says what it is, and offers models and questions", async () => {
      const { page } = it;
      await page.getByRole("heading", { name: "Chat with a model that runs on your device. Nothing you type leaves it." }).waitFor();
      const cards = page.getByRole("list", { name: "Models" }).getByRole("listitem");
      assert.ok((await cards.count()) >= 5);
      for (const card of await cards.all()) assert.match(await card.innerText(), /[\d.]+ (MB|GB) · \S.*/);
      assert.equal(await page.locator("#question-list button").count(), 3);
      assert.equal(await page.getByLabel("Address").isVisible(), false);
      assert.equal(await page.evaluate(() => crossOriginIsolated), true);
      await fits(page);
    });

    test("the expected speed is measured once and remembered", async () => {
      const { page } = it;
      await page.waitForFunction(() => [...document.querySelectorAll(".speed")].every(({ textContent }) => /^≈ [\d.]+ tokens\/s$/.test(textContent)), null, { timeout: 60_000 });
      const speeds = await page.locator(".speed").evaluateAll((all) => all.map(({ textContent }) => parseFloat(textContent.slice(2))));
      assert.ok(speeds[0] > speeds[3], `smaller models are faster: ${speeds}`);
      assert.ok((await page.evaluate(() => Number(localStorage.getItem("foveate.speed.bytes")))) > 1e6);
    });

    test("a message without a model stays in its field", async () => {
      const { page } = it;
      await page.locator("#question-list button").first().click();
      assert.match(await page.locator("#speed").innerText(), /^Choose a model first/);
      assert.match(await message(page).inputValue(), /sky is blue/);
      await message(page).fill("");
    });

    test("a wrong address shows an error below the cards", async () => {
      const { page } = it;
      await page.getByText("Use your own model").click();
      await page.getByLabel("Address").fill("/models/none.gguf");
      await page.getByRole("button", { name: "Load", exact: true }).click();
      const error = page.locator("#load-error");
      await error.waitFor({ state: "visible" });
      assert.match(await error.innerText(), /none\.gguf.*404/);
      it.complaints.length = 0; // The browser logs the failed request.
    });

    test("a card downloads its model and says what is happening, and the waiting message is answered", async () => {
      const { page } = it;
      await set(page, { maxTokens: 24, temperature: 0 });
      await page.getByRole("button", { name: "Download once: SmolLM2 135M" }).click();
      const amount = page.locator("#amount");
      await page.waitForFunction(() => /^SmolLM2 135M: Downloading [\d.]+ [kM]B of 9\d(\.\d)? MB$/.test(document.getElementById("amount").textContent));
      assert.ok(await page.getByRole("progressbar", { name: "Loading the model" }).isVisible());
      await ask(page, "What is the capital of France?");
      assert.match(await page.locator("#speed").innerText(), /is sent when SmolLM2 135M is ready/);
      await loaded(page);
      await answered(page);
      assert.equal(await amount.isVisible(), false);
      assert.match(await lastAnswer(page), /Paris/);
      assert.equal((await counts(page)).cached, 0);
      assert.match(await page.locator("#device").innerText(), /^cpu, /);
    });

    test("the speed of the answer replaces the estimate, and the second turn reads only what is new", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "SmolLM2 135M" }).first().click();
      const card = page.getByRole("dialog", { name: "Models" }).getByRole("listitem").first();
      assert.match(await card.innerText(), /SmolLM2 135M[\s\S]*downloaded/);
      if ((await counts(page)).generated > 16) await page.waitForFunction(() => /^[\d.]+ tokens\/s$/.test(document.querySelector("#models .speed").textContent));
      await page.keyboard.press("Escape");
      await set(page, { maxTokens: 6 });
      await ask(page, "Tell me more about that city.");
      await answered(page);
      const { prompt, cached } = await counts(page);
      assert.ok(cached > prompt / 2 && prompt - cached < 30, `${cached} of ${prompt}`);
      assert.equal(await page.locator(".turn").count(), 4);
    });

    test("a cut-off answer says so and is continued", async () => {
      const { page } = it;
      assert.match(await page.locator(".ended").last().innerText(), /^Cut off at Max tokens\./);
      const before = await lastAnswer(page);
      await page.getByRole("button", { name: "Continue this answer" }).click();
      await answered(page);
      const text = await lastAnswer(page);
      assert.ok(text.startsWith(before) && text.length > before.length, text);
      assert.equal((await counts(page)).generated, 12);
    });

    test("Stop takes the place of Send, and Escape stops too", async () => {
      const { page } = it;
      await set(page, { maxTokens: 400 });
      for (const stop of [() => page.getByRole("button", { name: "Stop" }).click(), () => page.keyboard.press("Escape")]) {
        await ask(page, "Tell me a long story.");
        await page.waitForFunction(() => document.querySelector(".turn.running .markdown")?.textContent.length > 10, null, { timeout: 60_000 });
        assert.equal(await page.getByRole("button", { name: "Send" }).isVisible(), false);
        await stop();
        await page.getByRole("button", { name: "Send" }).waitFor({ timeout: 3000 });
        assert.match(await page.locator(".ended").last().innerText(), /^Stopped\./);
        assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
      }
    });

    test("Enter sends and Shift+Enter breaks the line", async () => {
      const { page } = it;
      const turns = await page.locator(".turn").count();
      await message(page).fill("One");
      await message(page).press("Shift+Enter");
      await page.keyboard.type("Two");
      assert.equal(await message(page).inputValue(), "One\nTwo");
      assert.equal(await page.locator(".turn").count(), turns);
      await message(page).fill("");
    });

    test("an edited message and a regenerated answer are branches with arrows, and older ones stay in the cache", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "New chat" }).click();
      await set(page, { maxTokens: 10 });
      await ask(page, "What is the capital of Italy?");
      await answered(page);
      const rome = await lastAnswer(page);
      const first = await counts(page);
      await page.getByRole("button", { name: "Edit this message" }).click();
      const field = page.getByRole("textbox", { name: "Edit the message" });
      await field.press("Escape");
      assert.equal(await page.locator(".turn").count(), 2);
      await page.getByRole("button", { name: "Edit this message" }).click();
      await field.fill("What is the capital of Spain?");
      await field.press("Enter");
      await answered(page);
      const madrid = await lastAnswer(page);
      assert.notEqual(madrid, rome);
      assert.match(await page.locator(".turn.user .versions").innerText(), /2\/2/);
      const { prompt, cached } = await counts(page);
      assert.ok(cached > 20 && prompt - cached < 12, `${cached} of ${prompt}`);
      await page.getByRole("button", { name: "Previous version" }).click();
      assert.equal(await lastAnswer(page), rome);
      // The branch that was left is still in memory, with its question.
      await ask(page, "And of Greece?");
      await answered(page);
      const further = await counts(page);
      assert.ok(further.cached >= first.prompt, JSON.stringify([first, further]));
      await page.getByRole("button", { name: "Regenerate" }).last().click();
      await answered(page);
      assert.match(await page.locator(".turn.assistant .versions").last().innerText(), /2\/2/);
      const again = await counts(page);
      assert.ok(again.prompt - again.cached < 2, JSON.stringify(again));
      await page.getByRole("button", { name: "Look inside" }).click();
      const branches = page.getByRole("list", { name: "Branches in memory" }).getByRole("listitem");
      await page.waitForFunction(() => document.querySelectorAll("#forks li").length >= 3);
      assert.match((await branches.allInnerTexts())[1], /^Branch 2: \d+ tokens, \d+ shared with this one$/);
      await page.getByRole("button", { name: "Close Look inside" }).click();
    });

    test("a file that is not a model changes neither the model nor the conversation", async () => {
      const { page } = it;
      const turns = await page.locator(".turn").count();
      const file = { name: "noise.gguf", mimeType: "application/octet-stream", buffer: Buffer.from("no model at all") };
      await page.locator("#file").setInputFiles(file);
      const notice = page.locator("#notice");
      await notice.waitFor();
      assert.match(await notice.innerText(), /noise was not loaded: noise\.gguf is not a model: .*\. SmolLM2 135M stays loaded\./);
      const dropped = await page.evaluateHandle(() => {
        const files = new DataTransfer();
        files.items.add(new File(["no model either"], "dropped.gguf"));
        return files;
      });
      await page.dispatchEvent("main", "dragover", { dataTransfer: dropped });
      assert.equal(await page.locator("body.target").count(), 1);
      await page.dispatchEvent("main", "drop", { dataTransfer: dropped });
      assert.equal(await page.locator("body.target").count(), 0);
      await page.waitForFunction(() => /dropped\.gguf is not a model/.test(document.getElementById("notice-text").textContent));
      assert.equal(await page.locator(".turn").count(), turns);
      await ask(page, "Still here?");
      await answered(page);
      assert.equal(await page.locator(".turn").count(), turns + 2);
      await page.getByRole("button", { name: "Dismiss" }).click();
    });

    test("token probabilities show on hover and with the arrow keys", async () => {
      const { page } = it;
      await set(page, { probabilities: true, maxTokens: 5 });
      await ask(page, "Say yes.");
      await answered(page);
      const tokens = page.locator(".turn.assistant").last().locator(".token");
      assert.equal(await tokens.count(), (await counts(page)).generated);
      await tokens.first().hover();
      const card = page.locator("#token-card");
      await card.waitFor();
      assert.match(await card.innerText(), /^".*" \d[\d.]* %\s/);
      assert.equal(await card.getByRole("listitem").count(), 5);
      await page.mouse.move(5, 5);
      await card.waitFor({ state: "hidden" });
      await page.locator(".tokens").last().focus();
      const first = await card.innerText();
      await page.keyboard.press("ArrowRight");
      assert.notEqual(await card.innerText(), first);
      await set(page, { probabilities: false });
      assert.equal(await page.locator(".tokens").count(), 0);
      assert.ok((await lastAnswer(page)).length > 0);
    });

    test("settings are kept within their ranges", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Settings" }).click();
      for (const [label, typed, kept] of [["Temperature", "9", "2"], ["Max tokens", "0", "1"], ["Top-k", "3.6", "4"], ["Seed", "", ""]]) {
        const field = page.getByLabel(label, { exact: true });
        await field.fill(typed);
        await field.press("Tab");
        assert.equal(await field.inputValue(), kept, label);
      }
      assert.equal(await page.getByLabel("Thinking").isVisible(), false, "this model does not think");
      await page.getByLabel("Colours", { exact: true }).selectOption("dark");
      assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");
      await page.getByRole("button", { name: "Reset to defaults" }).click();
      assert.equal(await page.getByLabel("Temperature").inputValue(), "0.7");
      await page.keyboard.press("Escape");
    });

    test("conversations are kept, exported, deleted with undo, and imported", async () => {
      const { page } = it;
      const kept = page.getByRole("list", { name: "Kept conversations" });
      const titles = () => kept.locator(".conversation").allInnerTexts();
      await set(page, { system: "Answer in one word.", maxTokens: 8, temperature: 0 });
      await page.getByRole("button", { name: "New chat" }).click();
      await ask(page, "Name a colour.");
      await answered(page);
      await page.waitForTimeout(400);
      await page.reload();
      await page.waitForFunction(() => document.querySelectorAll(".conversation").length === 3);
      assert.equal((await titles())[0], "Name a colour.");
      await kept.getByRole("button", { name: "Name a colour." }).first().click();
      assert.equal(await page.locator(".turn").count(), 2);
      // No model is loaded after a reload: the models are offered.
      await page.getByRole("button", { name: "Regenerate" }).click();
      await page.getByRole("dialog", { name: "Models" }).getByRole("button", { name: "Load: SmolLM2 135M" }).waitFor();
      await page.keyboard.press("Escape");
      const menu = () => kept.locator("summary").first().click();
      const exported = async (label) => {
        await menu();
        const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: `${label}: Name a colour.` }).click()]);
        return readFile(await file.path(), "utf8");
      };
      assert.match(await exported("Export as Markdown"), /^# Name a colour\.\n\n> System: Answer in one word\.\n\n## You\n\nName a colour\.\n\n## Assistant\n\n\S/);
      const json = await exported("Export as JSON");
      assert.equal(JSON.parse(json).nodes[1].content, "Name a colour.");
      await menu();
      await page.getByRole("button", { name: "Delete: Name a colour." }).click();
      assert.equal((await titles()).length, 2);
      await page.getByRole("button", { name: "Undo" }).click();
      assert.equal((await titles()).length, 3);
      const file = (text) => ({ name: "chat.json", mimeType: "application/json", buffer: Buffer.from(text) });
      await page.getByLabel("Import").setInputFiles(file(json));
      await page.waitForFunction(() => document.querySelectorAll(".conversation").length === 4);
      assert.equal(await page.locator(".turn").count(), 2);
      for (const [text, what] of [["no", /not JSON/], ["{}", /not a conversation/], [json.replace('"parent": ""', '"parent": "7"'), /message 1 .* damaged/]]) {
        await page.getByLabel("Import").setInputFiles(file(text));
        await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("notice-text").textContent), what.source);
      }
    });

    test("a question loads the model of the last visit, without a request", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "New chat" }).click();
      it.requests.length = 0;
      await ask(page, "Name a colour.");
      await loaded(page);
      await answered(page);
      assert.ok((await lastAnswer(page)).length > 0);
      assert.deepEqual(it.requests.filter((path) => path.startsWith("/hub/")), []);
    });

    test("a growing answer survives a reload and can be continued", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "New chat" }).click();
      await set(page, { maxTokens: 400 });
      await ask(page, "Write a long story about a dog.");
      await page.locator(".turn.running .markdown:not(:empty)").waitFor({ timeout: 120_000 });
      const growing = await lastAnswer(page);
      const kept = () =>
        page.evaluate(async () => {
          const { list } = await import("./chat/store.js");
          const [{ nodes }] = (await list()).filter(({ title }) => /dog/.test(title));
          return Object.values(nodes).find(({ role }) => role === "assistant").content.trim();
        });
      while ((await kept()).length <= growing.trim().length) await page.waitForTimeout(100);
      await page.reload();
      await page.getByRole("button", { name: "Write a long story about a dog." }).first().click();
      await page.getByText("The page was closed before this answer ended.").waitFor();
      // It is offered for answers with a text only.
      assert.equal(await page.getByRole("button", { name: "Continue this answer" }).count(), 1);
    });

    test("a conversation that is deleted while it is answered stays deleted", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "New chat" }).click();
      await set(page, { maxTokens: 400 });
      await ask(page, "Write a long story about a bird.");
      await loaded(page);
      await page.locator(".turn.running").waitFor({ timeout: 120_000 });
      await page.getByLabel("More about Write a long story about a bird.").click();
      await page.getByRole("button", { name: "Delete: Write a long story about a bird." }).click();
      await page.waitForFunction(() => !document.getElementById("send").hidden);
      await page.waitForTimeout(600);
      await page.reload();
      await page.locator(".conversation").first().waitFor();
      const titles = await page.locator(".conversation").allInnerTexts();
      assert.ok(!titles.some((title) => title.includes("bird")), titles.join());
      // What follows needs a model and an answer.
      await set(page, { maxTokens: 8 });
      await ask(page, "Name a colour.");
      await answered(page);
    });

    test("another model takes over while one answers: the answer stays, and the new model continues it", async () => {
      const { page } = it;
      await set(page, { maxTokens: 1000, system: "" });
      await page.getByRole("button", { name: "New chat" }).click();
      await ask(page, "Tell me a long story.");
      await page.waitForFunction(() => document.querySelector(".turn.running .markdown")?.textContent.length > 10, null, { timeout: 60_000 });
      await page.getByRole("button", { name: "SmolLM2 135M" }).first().click();
      const dialog = page.getByRole("dialog", { name: "Models" });
      if (!(await page.getByLabel("Address").isVisible())) await dialog.getByText("Use your own model").click();
      await page.getByLabel("Address").fill("/small/");
      await dialog.getByRole("button", { name: "Load", exact: true }).click();
      await page.waitForFunction(() => document.getElementById("model-name").textContent === "small", null, { timeout: 60_000 });
      await answered(page);
      assert.match(await page.locator(".ended").last().innerText(), /^Stopped\./);
      const before = await lastAnswer(page);
      assert.ok(before.length > 10);
      await set(page, { maxTokens: 6 });
      await page.getByRole("button", { name: "Continue this answer" }).last().click();
      await answered(page);
      assert.ok((await lastAnswer(page)).length > before.length);
    });

    test("a model that was downloaded can be deleted", async () => {
      const { page } = it;
      await page.locator("#model-button").click();
      await page.getByRole("button", { name: "Delete: SmolLM2 135M" }).click();
      await page.getByRole("button", { name: "Delete: SmolLM2 135M" }).waitFor({ state: "detached" });
      await page.keyboard.press("Escape");
    });
  });
});
