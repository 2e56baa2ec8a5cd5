// The playground in Chromium, for its tests.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as support from "./support.mjs";

/** The file of the first card, on a hub of the tests. */
const CARD = ["bartowski/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct-Q4_K_M.gguf"];

/** Folder on the hub that has the first card's model. */
const HUB_FOLDER = `/hub/${CARD[0]}/resolve/main/`;

/**
 * Defines tests of the playground. `opened` is called with the page before them; it starts at `path` of the server. The
 * hub of the page is this server: it has the first card's model, and `requests` lists what was asked of it.
 */
export function inPlayground({ path = "/playground/", device = "cpu", mounts = {}, viewport = { width: 1280, height: 800 }, on = () => undefined, opened = async () => {} }, body) {
  const it = { complaints: [], requests: [] };
  let hub;

  before(async () => {
    hub = mkdtempSync(join(tmpdir(), "hub-"));
    symlinkSync(join(support.models, support.smollm2), join(hub, CARD[1]));
    const serving = (request) => {
      it.requests.push(request.path);
      return { isolated: true, ...on(request) };
    };
    [it.browser, it.server] = await Promise.all([support.launch(), support.serveAll(serving, { [HUB_FOLDER]: hub, ...mounts })]);
    it.context = await it.browser.newContext({ viewport, permissions: ["clipboard-read", "clipboard-write"] });
    it.page = await it.context.newPage();
    it.page.on("pageerror", (error) => it.complaints.push(String(error)));
    it.page.on("console", (message) => message.type() === "error" && it.complaints.push(message.text()));
    const url = new URL(path, it.server.url);
    url.searchParams.set("hub", `${it.server.url}/hub`);
    url.searchParams.set("device", device);
    await it.page.goto(url.href);
    await opened(it.page);
  });

  after(async () => {
    await it.browser?.close();
    await it.server?.close();
    if (hub) rmSync(hub, { recursive: true, force: true });
  });

  body(it);

  test("the page logged no errors", () => assert.deepEqual(it.complaints, []));
}

/** Counts the frames that a page draws until no answer runs. */
export const frames = (page) =>
  page.evaluate(async () => {
    let frames = 0;
    while (document.querySelector(".turn.running")) {
      await new Promise(requestAnimationFrame);
      frames++;
    }
    return frames;
  });

/** Waits until a model is loaded. */
export const loaded = (page) => page.locator("body.with-model").waitFor({ timeout: 120_000 });

/** Sets settings by name, as the drawer does. */
export const set = (page, values) =>
  page.evaluate((values) => {
    for (const [name, value] of Object.entries(values)) {
      const input = document.getElementById(`set-${name}`);
      if (input.type === "checkbox") input.checked = value;
      else input.value = value;
      input.dispatchEvent(new Event("change"));
    }
  }, values);

export const message = (page) => page.getByRole("textbox", { name: "Message", exact: true });

/** Sends a message with the keyboard. */
export async function ask(page, text) {
  await message(page).fill(text);
  await message(page).press("Enter");
}

/** Waits until no answer runs. */
export async function answered(page) {
  await page.waitForFunction(() => document.querySelector(".turn.assistant") && !document.querySelector(".turn.running") && !document.getElementById("send").hidden, null, { timeout: 120_000 });
}

/** Returns the text of the last answer. */
export const lastAnswer = (page) => page.locator(".turn.assistant .markdown").last().innerText();

/** Returns counts of the last answer, from the line below it. */
export async function counts(page) {
  const line = await page.locator(".turn.assistant .statistics").last().innerText();
  const [, generated, prompt, cached] = /^([\d,]+) tokens? .*prompt ([\d,]+) tokens?, ([\d,]+) cached/.exec(line) ?? assert.fail(line);
  return Object.fromEntries(Object.entries({ generated, prompt, cached }).map(([name, text]) => [name, Number(text.replaceAll(",", ""))]));
}

/** Asserts that nothing is wider than the page, and that no button's text wraps inside of a word. */
export async function fits(page) {
  const { wide, width, broken } = await page.evaluate(() => {
    const lines = (element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      return new Set([...range.getClientRects()].map(({ top }) => Math.round(top / 4))).size;
    };
    const buttons = [...document.querySelectorAll("button")].filter((button) => button.offsetParent && button.textContent.trim());
    const words = buttons.filter((button) => !/\s/.test(button.textContent.trim()) && lines(button) > 1);
    return { wide: document.documentElement.scrollWidth, width: innerWidth, broken: words.map(({ textContent }) => textContent) };
  });
  assert.ok(wide <= width, `${wide} wide at ${width}`);
  assert.deepEqual(broken, []);
}
