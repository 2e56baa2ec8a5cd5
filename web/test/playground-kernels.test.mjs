// The playground's page of kernels.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fits, inPlayground } from "./playground.mjs";
import * as support from "./support.mjs";

describe("the kernels page", { skip: support.skipBrowser }, () => {
  inPlayground({ path: "/playground/kernels.html" }, (it) => {
    const ready = () => it.page.waitForFunction(() => !document.getElementById("run").disabled, null, { timeout: 60_000 });
    const choose = (op) => it.page.locator("#op").selectOption(op);
    const fill = (name, value) => it.page.locator(`#set-${name}`).fill(value);

    test("each setting of an op has a field with its default and documentation", async () => {
      const { page } = it;
      await ready();
      await choose("sample");
      const field = page.getByLabel("temperature", { exact: true });
      assert.equal(await field.getAttribute("placeholder"), "0");
      assert.match(await page.locator("#set-temperature-help").innerText(), /likeliest token/);
      await choose("linear");
      assert.match(await page.locator("#fields label").first().innerText(), /^tokens \(T\)$/);
      const formats = await page.locator("#set-format option").allInnerTexts();
      assert.ok(formats[0] === "default: f32" && formats.includes("q4_0"), formats.join());
      assert.match(await page.locator("#summary").innerText(), /product/i);
      const counts = await page.locator("#op option").evaluateAll((options) => options.length);
      assert.ok(counts > 20, `${counts} ops`);
    });

    test("an op runs on three executors, with errors and times in units", async () => {
      const { page } = it;
      await choose("norm");
      await fill("rows", "16");
      await fill("dim", "64");
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#results td:nth-child(2)").length === 3 && !document.getElementById("run").disabled, null, { timeout: 60_000 });
      const rows = await page.locator("#results tr").evaluateAll((all) => all.map((tr) => [...tr.cells].map((cell) => cell.textContent)));
      assert.deepEqual(rows.map(([name]) => name), ["Reference", "CPU", "WebGPU"]);
      for (const [name, time, error, device] of rows) {
        assert.match(time, /^[\d.]+ (µs|ms|s)$/);
        assert.match(error, name === "Reference" ? /^—$/ : /^(none|[\d.]+ ppm)$/);
        assert.match(device, name === "WebGPU" ? /^gpu/ : /./);
      }
      assert.match(await page.locator("#args").innerText(), /x f32 \[16, (1, )?64\], 4\.1 kB, input/);
    });

    test("the plan has each pass with its buffers and its WGSL, and follows the settings", async () => {
      const { page } = it;
      assert.match(await page.locator("#plan-says").innerText(), /^1 pass for the GPU of this device/);
      const first = page.locator("#passes > li").first();
      assert.match(await first.locator(".bindings").innerText(), /^0: x, 4\.1 kB, read\n1: /);
      await first.locator("summary").click();
      const code = await first.locator("pre").innerText();
      assert.match(code, /@compute/);
      const started = () => first.locator(".quiet").innerText();
      const before = await started();
      assert.match(before, /^\d+ × 1 × 1 workgroups/);
      await fill("rows", "160");
      await page.locator("#set-rows").blur();
      await page.waitForFunction((before) => document.querySelector("#passes .quiet").textContent !== before, before);
      await fill("rows", "16");
      await page.locator("#set-rows").blur();
      await page.waitForFunction((before) => document.querySelector("#passes .quiet").textContent === before, before);
    });

    test("a link restores op and settings, and a wrong one says so", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Copy link" }).click();
      await page.getByRole("button", { name: "Copied" }).waitFor();
      const link = await page.evaluate(() => navigator.clipboard.readText());
      assert.match(link, /#op=norm&.*dim=64/);
      await page.goto("about:blank");
      await page.goto(link);
      await ready();
      assert.equal(await page.locator("#op").inputValue(), "norm");
      assert.equal(await page.locator("#set-dim").inputValue(), "64");
      await page.evaluate(() => (location.hash = "op=norm&nothing=1"));
      await page.waitForFunction(() => /norm has no setting nothing/.test(document.getElementById("error").textContent));
      await page.evaluate(() => (location.hash = "op=wrong"));
      await page.waitForFunction(() => /no op wrong/.test(document.getElementById("error").textContent));
    });

    test("a wrong setting is refused by name", async () => {
      const { page } = it;
      await choose("norm");
      await fill("dim", "many");
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForFunction(() => /dim must be/.test(document.getElementById("error").textContent));
      await fill("dim", "64");
    });

    test("times by length are drawn while measuring", async () => {
      const { page } = it;
      await page.locator("#lengths").fill("T=64..512");
      await page.getByRole("button", { name: "Measure" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#chart .cpu circle").length > 0);
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
        assert.ok(rows.every((row) => /^[\d.,]+ (µs|ms|s)$/.test(row[column])), `${rows}`);
      }
      assert.equal(drawn.lines, 2);
      const growth = await page.getByRole("list", { name: "Growth" }).getByRole("listitem").allInnerTexts();
      assert.match(growth[0], /^CPU: time grows as T\^-?\d\.\d\d$/);
      assert.match(growth[1], /^WebGPU: time grows as T\^-?\d\.\d\d$/);
      const fitted = await page.evaluate(async () => {
        const { fit } = await import("./kernels/chart.js");
        return fit([1, 2, 4, 8].map((x) => [x, 3 * x ** 1.5]));
      });
      assert.ok(Math.abs(fitted.exponent - 1.5) < 1e-12 && Math.abs(fitted.factor - 3) < 1e-12);
    });

    test("a measurement can be stopped, ends in time, and refuses wrong ranges", async () => {
      const { page } = it;
      await choose("attention");
      await page.locator("#lengths").fill("T=64..65536");
      await page.getByRole("button", { name: "Measure" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#points tr").length > 1, null, { timeout: 60_000 });
      await page.getByRole("button", { name: "Stop" }).click();
      const state = page.locator("#sweep-state");
      await page.waitForFunction(() => /^Stopped/.test(document.getElementById("sweep-state").textContent), null, { timeout: 5000 });
      await page.getByLabel("Max seconds").fill("1");
      await page.getByRole("button", { name: "Measure" }).click();
      await page.waitForFunction(() => /^Done/.test(document.getElementById("sweep-state").textContent), null, { timeout: 60_000 });
      assert.match(await state.innerText(), /CPU: longer lengths exceed the time limit/);
      for (const [lengths, what] of [["T=64", "NAME=FROM\\.\\.TO"], ["tokens_of=1..8", "no setting tokens_of"]]) {
        await page.locator("#lengths").fill(lengths);
        await page.getByRole("button", { name: "Measure" }).click();
        await page.waitForFunction((what) => new RegExp(what).test(document.getElementById("sweep-error").textContent), what);
      }
    });

    test("the page fits a phone and has no serious accessibility fault", async () => {
      const { page } = it;
      await page.setViewportSize({ width: 390, height: 844 });
      for (const colorScheme of ["dark", "light"]) {
        await page.emulateMedia({ colorScheme });
        await fits(page);
        assert.deepEqual(await support.faults(page), []);
      }
    });
  });
});
