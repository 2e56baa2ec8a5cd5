// The playground's page of JSON and tools.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fits, inPlayground } from "./playground.mjs";
import * as support from "./support.mjs";
import { talking, TOOLS } from "./talking.mjs";

const folder = mkdtempSync(join(tmpdir(), "talking-"));
for (const file of talking(TOOLS)) writeFileSync(join(folder, file.name), new Uint8Array(await file.arrayBuffer()));
after(() => rmSync(folder, { recursive: true }));

const ready = (page) => page.waitForFunction(() => !document.getElementById("fill").disabled, null, { timeout: 120_000 });

describe("the page of JSON and tools", { skip: support.skipBrowser || support.skipModel }, () => {
  inPlayground({ path: `/playground/tools.html?model=/models/${support.smollm2}`, opened: ready }, (it) => {
    test("a text fills the fields of the schema", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Fill the form" }).click();
      await page.getByText("The answer follows the schema.").waitFor({ timeout: 120_000 });
      const values = await page.locator("#values").evaluate((list) => Object.fromEntries([...list.querySelectorAll("dt")].map((name) => [name.textContent, name.nextElementSibling.textContent])));
      assert.deepEqual([values.name, values.guests, values.day], ["Maria Lopez", "4", "Friday"]);
      assert.deepEqual(Object.keys(JSON.parse(await page.locator("#json").textContent())), Object.keys(values));
    });

    test("a schema that is not JSON, and one that is not a schema, say so", async () => {
      const { page } = it;
      const schema = await page.locator("#schema").inputValue();
      for (const [text, says] of [["{", /^The schema is not JSON/], ['{"type": "nothing"}', /nothing/]]) {
        await page.locator("#schema").evaluate((field, text) => (field.value = text), text);
        await page.getByRole("button", { name: "Fill the form" }).click();
        await page.locator("#json-error:not([hidden])").waitFor();
        assert.match(await page.locator("#json-error").textContent(), says);
      }
      await page.locator("#schema").evaluate((field, text) => (field.value = text), schema);
    });

    test("Stop ends an answer, and the next one runs", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Fill the form" }).click();
      await page.locator("#fill-stop").click();
      await page.locator("#json-says", { hasText: "Stopped." }).waitFor();
      await page.getByRole("button", { name: "Fill the form" }).click();
      await page.getByText("The answer follows the schema.").waitFor({ timeout: 120_000 });
    });

    test("a model whose template has no tools says so", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Ask" }).click();
      await page.locator("#tools-error:not([hidden])").waitFor({ timeout: 60_000 });
      assert.match(await page.locator("#tools-error").textContent(), /template does not say how tools are called/);
    });
  });
});

describe("tools on the page", { skip: support.skipBrowser }, () => {
  inPlayground({ path: "/playground/tools.html?model=/talking/", mounts: { "/talking/": folder }, opened: ready }, (it) => {
    test("functions return what they say", async () => {
      const results = await it.page.evaluate(async () => {
        const { call } = await import("./tools/functions.js");
        return [
          call({ name: "count_letters", arguments: { word: "Strawberry", letter: "r" } }),
          call({ name: "calculate", arguments: { operation: "divide", a: 7, b: 2 } }),
          call({ name: "nothing", arguments: {} }),
        ];
      });
      assert.deepEqual(results, ["3", "3.5", "there is no function nothing"]);
    });

    test("the page fits a phone and has no serious accessibility fault", async () => {
      const { page } = it;
      for (const summary of await page.locator("summary:visible").all()) await summary.click();
      await page.setViewportSize({ width: 390, height: 844 });
      for (const colorScheme of ["dark", "light"]) {
        await page.emulateMedia({ colorScheme });
        await fits(page);
        assert.deepEqual(await support.faults(page), []);
      }
    });
  });
});
