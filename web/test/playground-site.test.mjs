// The static site of `npm run build:site`: isolated by its service worker on a host without headers, and without a network.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../serve.mjs";
import { answered, ask, lastAnswer, loaded, set } from "./playground.mjs";
import * as support from "./support.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));

describe("the static site", { skip: support.skipBrowser || support.skipModel }, () => {
  let site, server, browser, context, page;
  const complaints = [];

  before(async () => {
    site = mkdtempSync(join(tmpdir(), "site-"));
    execFileSync(process.execPath, [join(web, "scripts", "site.mjs"), site], { stdio: ["ignore", "ignore", "inherit"] });
    // A folder below the root, and no headers, as on GitHub Pages.
    [browser, server] = await Promise.all([support.launch(), serve({ mounts: { "/some/folder/": site, "/models/": support.models } })]);
    context = await browser.newContext();
    page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
  });

  after(async () => {
    await Promise.all([browser?.close(), server?.close()]);
    if (site) rmSync(site, { recursive: true, force: true });
  });

  const address = (query) => `${server.url}/some/folder/${query}`;

  test("has the files that hosts need", () => {
    for (const name of ["index.html", "kernels.html", "tools.html", "sw.js", "_headers", "icon-512.png", "theme.js", "licences.txt"]) assert.ok(existsSync(join(site, name)), name);
    assert.match(readFileSync(join(site, "_headers"), "utf8"), /Cross-Origin-Embedder-Policy: require-corp/);
    const html = readFileSync(join(site, "index.html"), "utf8");
    assert.ok(!html.includes("importmap") && html.includes('name="service-worker"'), html.slice(0, 1500));
    const [, manifest] = /rel="manifest"\s+href="\.?\/?([^"]+)"/.exec(html);
    const { icons, start_url: start } = JSON.parse(readFileSync(join(site, manifest), "utf8"));
    assert.ok(icons.length > 0 && start === "./");
  });

  test("isolates itself on a host without headers, and answers with several threads", async () => {
    await page.goto(address(`?device=cpu&model=/models/${support.smollm2}`));
    await page.waitForFunction(() => crossOriginIsolated, null, { timeout: 60_000 });
    await loaded(page);
    const device = await page.locator("#device").innerText();
    const cores = await page.evaluate(() => navigator.hardwareConcurrency);
    if (cores > 2) assert.match(device, /^cpu, \d+ threads/);
    await set(page, { maxTokens: 8, temperature: 0 });
    await ask(page, "What is the capital of France?");
    await answered(page);
    assert.match(await lastAnswer(page), /Paris/);
  });

  test("opens, loads and answers without a network or a server", async () => {
    const kept = () => page.evaluate(async () => (await caches.keys()).some((name) => name.startsWith("site-")));
    while (!(await kept())) await page.waitForTimeout(100);
    await server.close();
    await context.setOffline(true);
    await page.goto(address(`?device=cpu&model=/models/${support.smollm2}`));
    await loaded(page);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    await set(page, { maxTokens: 8, temperature: 0 });
    await ask(page, "What is the capital of France?");
    await answered(page);
    assert.match(await lastAnswer(page), /Paris/);
    await page.goto(address("kernels.html"));
    await page.waitForFunction(() => document.querySelectorAll("#op option").length > 10, null, { timeout: 30_000 });
    assert.ok((await page.locator("#fields .field").count()) > 3);
  });

  test("is installable", async () => {
    const client = await context.newCDPSession(page);
    await page.goto(address(""));
    const { data, errors } = await client.send("Page.getAppManifest");
    assert.deepEqual(errors, []);
    assert.match(JSON.parse(data).name, /^foveate/);
    const { installabilityErrors } = await client.send("Page.getInstallabilityErrors");
    const real = installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito");
    assert.deepEqual(real, []);
  });

  test("logged no errors", () => assert.deepEqual(complaints, []));

  test("stays small", (t) => {
    const html = readFileSync(join(site, "index.html"), "utf8");
    const scripts = [...html.matchAll(/(?:src|href)="\.?\/?([^"]+\.js)"/g)].map(([, name]) => name);
    const bytes = scripts.reduce((sum, name) => sum + statSync(join(site, name)).size, 0);
    t.diagnostic(`scripts of the first page: ${bytes} bytes`);
    assert.ok(bytes < 250_000, `${bytes} bytes`);
  });
});
