// Shared by the tests: golden files, a server and a browser.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "../serve.mjs";

const required = process.env.REQUIRE_GPU === "1";

const web = fileURLToPath(new URL("..", import.meta.url));
const golden = process.env.FOVEATE_GOLDEN ?? fileURLToPath(new URL("../../../shared/golden", import.meta.url));
export const models = process.env.FOVEATE_MODELS ?? fileURLToPath(new URL("../../target/models", import.meta.url));
const executable = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Returns a reason to skip tests that need `path` if it is missing; `false` with REQUIRE_GPU=1, so that they fail. */
export function unless(path, what) {
  return existsSync(path) || required ? false : `${what} is not at ${path}`;
}

export const smollm2 = "SmolLM2-135M-Instruct.Q4_1.gguf";
export const skipBrowser = unless(executable, "Chromium");
export const skipGolden = unless(golden, "the golden cases");
export const skipModel = unless(join(models, smollm2), "the model") || skipGolden;

export const smollm2Golden = () => JSON.parse(readFileSync(join(golden, "smollm2.json"), "utf8"));
export const modelPath = (name) => join(models, name);
export const goldenPath = (path) => join(golden, path);
export const goldenFile = (path) => readFileSync(goldenPath(path));

/** Returns the files of a golden model, as a file picker does. */
export const folder = (family) =>
  ["config.json", "model.safetensors"].map((name) => new File([goldenFile(`models/${family}/${name}`)], name));

/** Returns a golden model's prompt ids and greedy answer. */
export function goldenTokens(family) {
  const file = goldenFile(`models/${family}/golden.safetensors`);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString());
  const read = (name) => {
    const { dtype, data_offsets } = header[name];
    const [from, to] = data_offsets.map((offset) => 8 + length + offset);
    if (dtype !== "I32" && dtype !== "U32") throw new Error(`${name} is ${dtype}`);
    return [...new Int32Array(file.buffer.slice(file.byteOffset + from, file.byteOffset + to))];
  };
  return { prompt: read("input_ids"), greedy: read("want.greedy") };
}

/** Return the names of all golden cases of ops, and of all golden models. */
export const goldenOps = () => readdirSync(join(golden, "ops")).filter((name) => name.endsWith(".safetensors"));
export const goldenModels = () => readdirSync(join(golden, "models"));

/** Serves the package, golden cases at /golden/, models at /models/, a hub with one model, and `more` mounts. */
export function serveAll(on, more = {}) {
  const hub = { "/hub/acme/llama/resolve/main/": join(golden, "models", "llama") };
  return serve({ mounts: { "/": web, "/golden/": golden, "/models/": models, ...hub, ...more }, on });
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Returns the serious accessibility faults that axe-core finds in a page. */
export async function faults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Starts Debian's Chromium with WebGPU on SwiftShader and no background requests. */
export function launch() {
  return chromium.launch({
    executablePath: executable,
    headless: true,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Returns the resident memory of a browser's processes of a type, in bytes. */
export async function resident(browser, type) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const pages = processInfo.filter((process) => process.type === type).map(({ id }) => readFileSync(`/proc/${id}/statm`, "utf8").split(" ")[1]);
  return pages.reduce((sum, count) => sum + 4096 * Number(count), 0);
}

/** Returns the address of a blank page that imports the package `from` its own server or another one. */
export const blankAt = (url, from = "..") => `${url}/test/blank.html?from=${encodeURIComponent(from)}`;

/** Opens a blank page with the package as `window.foveate`. `complaints` collects its errors and error logs. */
export async function blank(browser, url, from) {
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  page.complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("Failed to load resource")) {
      page.complaints.push(message.text());
    }
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  await page.goto(blankAt(url, from));
  await page.waitForFunction(() => window.answer, null, { timeout: 60_000 });
  return page;
}

/** Prepends code to a script of a page. Returns a function that restores the script. */
export async function prefix(page, script, code) {
  await page.route(script, async (route) => {
    const response = await route.fetch();
    return route.fulfill({ response, body: code + (await response.text()) });
  });
  return () => page.unroute(script);
}

/**
 * Defines tests in a page of Chromium with the package. `body` gets:
 *
 * - `page.evaluate`, and `tab()` for the whole Playwright page;
 * - `serving(on)`, which sets the server's behaviour as in `serve`, and `requests`, the requests since then;
 * - `resident(type)`, the resident memory of the browser's processes of a type, in bytes; and `url()` of the server.
 */
export function inChromium(name, skip, body) {
  describe(name, { skip }, () => {
    let browser, server, open;
    let on = () => undefined;
    const requests = [];
    const serving = (behaviour) => {
      on = behaviour;
      requests.length = 0;
    };

    before(async () => {
      const served = serveAll((request) => (requests.push(request), on(request)));
      [browser, server] = await Promise.all([launch(), served]);
      open = await blank(browser, server.url);
    });

    after(() => Promise.all([browser?.close(), server?.close()]));

    const page = { evaluate: (...args) => open.evaluate(...args) };
    body({ page, tab: () => open, serving, requests, resident: (type) => resident(browser, type), url: () => server.url });

    test("no page logged errors", () => assert.deepEqual(open.complaints, []));
  });
}
