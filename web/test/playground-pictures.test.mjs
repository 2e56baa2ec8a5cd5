// The states of the playground at two widths: each is checked by axe-core, fits its width, and is saved as a picture in the
// folder PICTURES.

import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { answered, ask, fits, inPlayground, loaded, set } from "./playground.mjs";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

const pictures = join(process.env.PICTURES ?? fileURLToPath(new URL("../../target/pictures", import.meta.url)), "playground");
mkdirSync(pictures, { recursive: true });

const SIZES = [
  [1280, 800],
  [390, 844],
];

/** An exported conversation of these messages. Messages that name a `parent` are branches. */
function exported(title, messages) {
  const nodes = {};
  messages.forEach(([role, content, more], i) => (nodes[i + 1] = { parent: i === 0 ? "" : String(i), role, content, finish: "stop", ...more }));
  return { name: "chat.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify({ foveate: 1, title, nodes })) };
}

const MARKDOWN = exported("Rayleigh scattering", [
  ["user", "Why is the sky blue? Show the formula and some numbers."],
  [
    "assistant",
    `Air scatters short waves **more than long ones**. For a wavelength $\\lambda$ the intensity is

$$I \\propto \\frac{1}{\\lambda^4}$$

| Colour | Wavelength | Scattered |
|---|--:|--:|
| Blue | 450 nm | 5.9 |
| Green | 530 nm | 3.0 |
| Red | 700 nm | 1.0 |

\`\`\`python
def scattered(wavelength: float) -> float:
    """Relative to red light."""
    return (700 / wavelength) ** 4
\`\`\`

1. Sunlight holds all colours.
2. Blue is scattered in *all* directions, so the sky looks blue.`,
  ],
]);

const THINKING = exported("How many legs?", [
  ["user", "Two cats and a bird: how many legs are there?"],
  ["assistant", "<think>\nA cat has four legs, so two cats have eight. A bird has two.\n8 + 2 = 10.\n</think>\n\nThere are **10** legs."],
]);

const RIGHT_TO_LEFT = exported("ما هي عاصمة فرنسا؟", [
  ["user", "ما هي عاصمة فرنسا؟"],
  ["assistant", "عاصمة فرنسا هي **باريس**.\n\n- تقع على نهر السين.\n- عدد سكانها نحو مليوني نسمة.\n\n```python\nprint(\"Paris\")\n```"],
]);

const small = smallFolder();
after(() => rmSync(small, { recursive: true }));

describe("the states of the playground", { skip: support.skipBrowser || support.skipModel }, () => {
  let slow = 0;
  inPlayground({ mounts: { "/small/": small }, on: ({ path }) => (path.startsWith("/hub/") ? { delay: slow } : undefined) }, (it) => {
    /** Checks and saves the present state at both widths, in light or dark colours, after `each` at both. */
    async function state(name, { dark = false, each = async () => {} } = {}) {
      const { page } = it;
      await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
      for (const [width, height] of SIZES) {
        await page.setViewportSize({ width, height });
        await page.mouse.move(2, 2);
        await each(page);
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        await fits(page);
        const { length } = await page.screenshot({ path: join(pictures, `${name}-${width}.png`), animations: "disabled" });
        assert.ok(length > 5000, `a picture of ${length} bytes`);
        assert.deepEqual(await support.faults(page), [], `${name} at ${width}`);
      }
      await page.setViewportSize({ width: SIZES[0][0], height: SIZES[0][1] });
    }
    const imported = async (file, title) => {
      await it.page.locator("#import").setInputFiles(file);
      await it.page.waitForFunction((title) => document.querySelector(".conversation[aria-current]")?.textContent === title, title);
      await it.page.waitForFunction(() => !document.querySelector("code.tex") && [...document.querySelectorAll("code[class*=language-]")].every((code) => code.children.length > 0));
    };

    test("1: the first page", async () => {
      await it.page.waitForFunction(() => [...document.querySelectorAll(".speed")].every(({ textContent }) => textContent), null, { timeout: 60_000 });
      await state("start");
    });

    test("2: a model of one's own, and an error", async () => {
      const { page } = it;
      await page.getByText("Use your own model").click();
      await page.locator("#file").setInputFiles({ name: "holiday.gguf", mimeType: "", buffer: Buffer.from("no model") });
      await page.locator("#load-error").waitFor();
      await state("own", { each: (page) => page.locator("#load-error").scrollIntoViewIfNeeded() });
    });

    test("3: downloading", async () => {
      const { page } = it;
      await page.getByText("Use your own model").click();
      slow = 1500;
      await page.getByRole("button", { name: "Download once: SmolLM2 135M" }).click();
      await page.waitForFunction(() => /Downloading [1-9]\d/.test(document.getElementById("amount").textContent), null, { timeout: 60_000 });
      await state("loading");
      slow = 0;
      await loaded(page);
    });

    test("4: a new chat", () => state("new"));

    test("5: an answer that streams", async () => {
      const { page } = it;
      await set(page, { temperature: 0, maxTokens: 400 });
      await ask(page, "Explain in three sentences why the sky is blue.");
      await page.waitForFunction(() => document.querySelector(".turn.running .markdown")?.textContent.length > 60, null, { timeout: 60_000 });
      await state("answering");
      await page.keyboard.press("Escape");
      await answered(page);
    });

    test("6: Markdown", async () => {
      await imported(MARKDOWN, "Rayleigh scattering");
      await state("markdown");
    });

    test("7: thoughts, in the dark", async () => {
      await imported(THINKING, "How many legs?");
      await it.page.locator(".thoughts summary").click();
      await state("thinking", { dark: true });
    });

    test("8: text from right to left", async () => {
      const { page } = it;
      await imported(RIGHT_TO_LEFT, "ما هي عاصمة فرنسا؟");
      const sides = await page.locator(".turn p").first().evaluate((p) => [getComputedStyle(p).direction, getComputedStyle(p.closest(".turn").querySelector(".code")).direction]);
      assert.deepEqual(sides, ["rtl", "ltr"]);
      await state("right-to-left");
    });

    test("9: branches, and a message that is edited", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "New chat" }).click();
      await set(page, { maxTokens: 12 });
      await ask(page, "What is the capital of Italy?");
      await answered(page);
      await page.getByRole("button", { name: "Regenerate" }).click();
      await answered(page);
      await page.getByRole("button", { name: "Edit this message" }).click();
      await state("branches");
      await page.getByRole("textbox", { name: "Edit the message" }).press("Escape");
    });

    test("10: token probabilities", async () => {
      const { page } = it;
      await set(page, { probabilities: true, maxTokens: 40 });
      await page.getByRole("button", { name: "Regenerate" }).click();
      await answered(page);
      const each = async (page) => {
        await page.locator(".tokens").blur();
        await page.locator(".tokens").focus();
        await page.keyboard.press("ArrowRight");
      };
      await state("probabilities", { each });
      await set(page, { probabilities: false });
    });

    test("11: settings, in the dark", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "Settings" }).click();
      await state("settings", { dark: true });
      await page.keyboard.press("Escape");
    });

    test("12: look inside", async () => {
      const { page } = it;
      await ask(page, "Name three other cities of that country, and say a few words about each of them.");
      await answered(page);
      await page.getByRole("button", { name: "Look inside" }).click();
      await page.locator("#forks li").nth(1).waitFor();
      await state("inside");
    });

    test("13: time and memory of each op", async () => {
      const { page } = it;
      const profile = page.getByRole("button", { name: "Profile ops" });
      await profile.click();
      await page.getByRole("button", { name: "Stop profiling" }).click();
      await profile.waitFor();
      assert.equal(await page.locator("#profiles table").count(), 0);
      await profile.click();
      await page.locator("#profiles table").nth(1).waitFor({ timeout: 60_000 });
      const [prefill, decode] = await page.locator("#profiles caption").allInnerTexts();
      assert.match(prefill, /^Prefill, \d+ tokens: [\d.]+ (ms|s)$/);
      assert.match(decode, /^Decode, \d+ tokens: [\d.]+ (ms|s)$/);
      for (const table of await page.locator("#profiles table").all()) {
        const rows = await table.locator("tbody tr").evaluateAll((all) => all.map(({ cells }) => [...cells].map((cell) => [cell.textContent, Number(cell.style.getPropertyValue("--share"))])));
        assert.ok(rows.some(([[op]]) => /^(fused_)?linear .*q4_1/i.test(op)), `${rows}`);
        assert.ok(Math.abs(rows.reduce((sum, [, [share]]) => sum + parseFloat(share), 0) - 100) < 1);
        assert.ok(rows.every(([, [percent, share]]) => Math.abs(parseFloat(percent) - 100 * share) < 0.06));
        assert.ok(rows.every(([, , , [bytes, share]]) => /^[\d.]+ [kMG]B$/.test(bytes) && share > 0 && share <= 1));
      }
      assert.match(await page.locator("#profile-state").innerText(), /from the CPU clock/);
      assert.match(await page.locator("#facts").innerText(), /Memory now\s+[\d.]+ MB, at most [\d.]+ MB/);
      await state("profile", { each: (page) => page.locator("#times").evaluate((section) => section.scrollIntoView()) });
    });

    const each = (page) => page.locator("#layers").evaluate((section) => section.scrollIntoView());

    test("14: the memory of a delta-rule layer", async () => {
      const { page } = it;
      const url = new URL(page.url());
      url.searchParams.set("model", "/small/");
      await page.goto(url.href);
      await loaded(page);
      await set(page, { maxTokens: 12, temperature: 0 });
      await page.getByRole("button", { name: "Look inside" }).click();
      await ask(page, "It was the best of times, it was the worst of times.");
      await answered(page);
      await page.locator("#heat").waitFor();
      await state("delta", { dark: true, each });
    });

    test("15: the tokens of a routing layer's centroids", async () => {
      const { page } = it;
      await page.locator("#layer").selectOption("1");
      await page.locator(".routed-token").first().waitFor();
      await state("routing", { each });
      await page.getByRole("button", { name: "Close Look inside" }).click();
    });

    test("16: models and conversations on a phone", async () => {
      const { page } = it;
      await page.getByRole("button", { name: "small" }).first().click();
      await state("models");
      await page.keyboard.press("Escape");
      await page.setViewportSize({ width: 390, height: 844 });
      await page.getByRole("button", { name: "Conversations" }).click();
      assert.equal(await page.evaluate(() => document.activeElement.id), "new-chat");
      await fits(page);
      assert.deepEqual(await support.faults(page), []);
      await page.screenshot({ path: join(pictures, "conversations-390.png") });
      await page.keyboard.press("Escape");
      assert.equal(await page.evaluate(() => document.activeElement.id), "history-button");
    });

    test("17: kernels", async () => {
      const { page } = it;
      await page.goto(`${it.server.url}/playground/kernels.html#op=norm&dim=64`);
      await page.waitForFunction(() => !document.getElementById("run").disabled, null, { timeout: 60_000 });
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForFunction(() => document.querySelectorAll("#results td:nth-child(2)").length === 3 && !document.getElementById("run").disabled, null, { timeout: 60_000 });
      await state("kernels", { each: (page) => page.evaluate(() => scrollTo(0, 0)) });
    });

    test("the keyboard reaches everything, in order", async () => {
      const page = await it.browser.newPage();
      await page.goto(`${it.server.url}/playground/?device=cpu`);
      await page.locator("#models .model").nth(4).waitFor();
      const seen = [];
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        const now = await page.evaluate(() => {
          const { id, tagName, textContent, ariaLabel } = document.activeElement;
          return id || ariaLabel || textContent.trim().slice(0, 30) || tagName;
        });
        if (seen.includes(now)) break;
        seen.push(now);
      }
      for (const wanted of ["new-chat", "import", "model-button", "inside-button", "settings-button", "Use your own model", "prompt", "send"]) {
        assert.ok(seen.includes(wanted), `${wanted} in ${seen}`);
      }
      assert.ok(seen.indexOf("model-button") < seen.indexOf("prompt"));
      assert.equal(seen[0], "Skip to the message");
      await page.close();
    });

    test("nothing moves for people who prefer reduced motion", async () => {
      const { page } = it;
      await page.goto(`${it.server.url}/playground/`);
      await page.emulateMedia({ reducedMotion: "reduce" });
      const moving = await page.evaluate(() => {
        const turn = Object.assign(document.createElement("div"), { className: "turn running", innerHTML: '<div class="markdown"></div>' });
        document.getElementById("turns").append(turn);
        return getComputedStyle(turn.firstChild, "::after").animationName;
      });
      assert.equal(moving, "none");
    });
  });
});
