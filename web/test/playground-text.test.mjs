// Texts of the playground: Markdown, thoughts, conversations as trees, and the settings of ops.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "../playground/kernels/metadata.js";
import { distance, said } from "../playground/kernels/distance.js";
import { split } from "../playground/chat/thoughts.js";
import * as tree from "../playground/chat/tree.js";
import { addressOf, MODELS, nameOf } from "../playground/start/catalog.js";
import { phase } from "../playground/start/progress.js";
import { inPlayground } from "./playground.mjs";
import * as support from "./support.mjs";

test("thoughts are split from answers", () => {
  const cases = [
    ["Plain.", false, { thoughts: "", answer: "Plain.", open: false }],
    ["<thi", false, { thoughts: "", answer: "", open: false }],
    ["<think>\nHm", false, { thoughts: "Hm", answer: "", open: true }],
    ["<think>\nHm\n</think>\n\nYes.", false, { thoughts: "Hm", answer: "Yes.", open: false }],
    ["Hm\n</think>\nYes.", true, { thoughts: "Hm", answer: "Yes.", open: false }],
    ["Hm", true, { thoughts: "Hm", answer: "", open: true }],
    ["a < b and <think> later", false, { thoughts: "", answer: "a < b and <think> later", open: false }],
  ];
  for (const [content, thinking, want] of cases) assert.deepEqual(split(content, thinking), want, content);
});

describe("a conversation", () => {
  /** Two versions of a question; the first has two answers. */
  function example() {
    const conversation = tree.begin();
    const first = tree.add(conversation, tree.ROOT, "user", "  What is\n the capital of Italy? ");
    tree.add(conversation, first.id, "assistant", "Milan.");
    const rome = tree.add(conversation, first.id, "assistant", "Rome.");
    const other = tree.add(conversation, tree.ROOT, "user", "And of Spain?");
    return { conversation, first, rome, other };
  }

  test("shows the selected branch, and steps between versions", () => {
    const { conversation, first, rome, other } = example();
    assert.equal(conversation.title, "What is the capital of Italy?");
    assert.deepEqual(tree.path(conversation), [other]);
    assert.equal(tree.step(conversation, other, -1), first);
    assert.deepEqual(tree.path(conversation), [first, rome]);
    assert.equal(tree.step(conversation, first, -1), undefined);
    tree.step(conversation, rome, -1);
    assert.equal(tree.path(conversation)[1].content, "Milan.");
    conversation.system = " Be brief. ";
    assert.deepEqual(tree.messages(conversation, first), [
      { role: "system", content: "Be brief." },
      { role: "user", content: first.content },
    ]);
  });

  test("selects the newest version that is left when one is removed", () => {
    const { conversation, first, rome } = example();
    tree.step(conversation, conversation.nodes[conversation.selected[tree.ROOT]], -1);
    tree.remove(conversation, rome);
    assert.equal(tree.path(conversation)[1].content, "Milan.");
    tree.remove(conversation, first);
    assert.deepEqual(Object.values(conversation.nodes).map(({ content }) => content), ["And of Spain?"]);
    assert.deepEqual(tree.path(conversation).map(({ content }) => content), ["And of Spain?"]);
  });

  test("survives JSON, and damaged files are refused by name", () => {
    const { conversation } = example();
    const json = tree.toJson(conversation);
    const read = tree.fromJson(json);
    assert.notEqual(read.id, conversation.id);
    assert.deepEqual(read.nodes, conversation.nodes);
    assert.deepEqual(tree.path(read), tree.path(conversation));
    assert.equal(tree.add(read, tree.ROOT, "user", "x").id, "5");
    const damage = (change) => {
      const file = JSON.parse(json);
      change(file);
      return () => tree.fromJson(JSON.stringify(file));
    };
    assert.throws(() => tree.fromJson("{"), /not JSON/);
    assert.throws(() => tree.fromJson("null"), /not a conversation/);
    assert.throws(damage((file) => (file.foveate = 9)), /not a conversation/);
    assert.throws(damage((file) => (file.nodes[1].role = "root")), /message 1 of the file is damaged/);
    assert.throws(damage((file) => (file.nodes[2].parent = "3")), /message 2 of the file is damaged/);
    assert.throws(damage((file) => (file.nodes[2].content = 5)), /message 2 of the file is damaged/);
  });
});

test("names of models on the hub become addresses", () => {
  const hub = "https://hub.example";
  assert.equal(addressOf("owner/name/folder/file.gguf", hub), "https://hub.example/owner/name/resolve/main/folder/file.gguf");
  assert.equal(addressOf("owner/name", hub), "https://hub.example/owner/name/resolve/main/");
  for (const same of ["https://a.example/b.gguf", "/models/a.gguf", "../a/b"]) assert.equal(addressOf(same, hub), same);
  assert.equal(nameOf("https://hub.example/owner/name/resolve/main/"), "name");
  assert.equal(nameOf("/models/A%20b.gguf?x=1"), "A b");
  assert.ok(MODELS.every(({ source, bytes, licence, about }) => /^[\w.-]+\/[\w.-]+/.test(source) && bytes > 1e6 && licence && about));
  assert.equal(new Set(MODELS.map(({ id }) => id)).size, MODELS.length);
});

test("progress says what is happening", () => {
  const at = (loadedBytes, compiledPipelines, fetchedBytes = 0) => phase({ loadedBytes, totalBytes: 98e6, compiledPipelines, totalPipelines: 71, fetchedBytes });
  assert.equal(at(34e6, 71, 34e6), "Downloading 34 MB of 98 MB");
  assert.equal(at(34e6, 5, 34e6), "Downloading 34 MB of 98 MB, compiling kernels 5 of 71");
  assert.equal(at(34e6, 71), "Reading 34 MB of 98 MB");
  assert.equal(at(98e6, 34, 98e6), "Compiling kernels 34 of 71");
  assert.equal(at(98e6, 71), "Preparing");
});

test("settings of ops are read from their types", () => {
  const ops = parse(`
/** A product. */
export interface FusedLinearSettings {
  /** Rows of \`x\`. Range: at least 1. Default: \`256\`. */
  readonly tokens?: number | undefined;
  /** The same as \`tokens\`. */
  readonly T?: number | undefined;
  /** Storage format. Default: \`f32\`. */
  readonly format?: "f32" | "q8_0" | undefined;
  /** Masks. Default: \`false\`. */
  readonly causal?: boolean | undefined;
  /** Tokens. Default: \`none\`. */
  readonly window?: number | null | undefined;
}
`);
  const { summary, fields } = ops.get("FusedLinear");
  assert.equal(summary, "A product.");
  const number = { kind: "number", optional: false };
  assert.deepEqual(fields, [
    { name: "tokens", doc: "Rows of `x`. Range: at least 1.", value: "256", letter: "T", ...number },
    { name: "format", doc: "Storage format.", value: "f32", optional: false, kind: "word", choices: ["f32", "q8_0"] },
    { name: "causal", doc: "Masks.", value: "false", optional: false, kind: "flag" },
    { name: "window", doc: "Tokens.", value: "none", ...number, optional: true },
  ]);
});

test("errors of ops have readable units", () => {
  const out = (...values) => ({ out: { data: Float32Array.from(values) } });
  assert.equal(distance(out(3, 4), out(3, 4)), 0);
  assert.ok(Math.abs(distance(out(3, 5), out(3, 4)) - 1 / Math.sqrt(12.5)) < 1e-7);
  assert.equal(distance({ out: { data: Uint32Array.of(1) } }, { out: { data: Uint32Array.of(2) } }), Infinity);
  assert.ok(Number.isNaN(distance(out(NaN, 4), out(3, 4))));
  assert.deepEqual([0, 3.14e-7, 2.5e-3, Infinity, NaN].map(said), ["none", "0.31 ppm", "0.25 %", "different", "different"]);
});

describe("Markdown", { skip: support.skipBrowser }, () => {
  inPlayground({}, (it) => {
    /** Draws texts in the page, one after the other as if they grew. Returns the last state. */
    const draw = (...texts) =>
      it.page.evaluate(async (texts) => {
        const { Markdown } = await import("./chat/markdown.js");
        const place = document.createElement("div");
        document.body.append(place);
        const markdown = new Markdown(place);
        const first = [];
        for (const [i, text] of texts.entries()) {
          markdown.update(text, i + 1 === texts.length);
          first.push(place.firstElementChild);
        }
        const settled = () => !place.querySelector("code.tex") && [...place.querySelectorAll("code[class*=language-]")].every((code) => code.children.length > 0);
        for (let i = 0; i < 100 && !settled(); i++) await new Promise((done) => setTimeout(done, 20));
        const html = place.innerHTML;
        place.remove();
        return { html, text: place.textContent, same: first.every((block) => block === first[0]) };
      }, texts);

    test("has tables, code with colours and copy buttons, and maths", async () => {
      const { html } = await draw("| a | b |\n|---|--:|\n| 1 | 2 |\n\n```python\ndef f(): return 1\n```\n\nThen $x^2$ and\n\n$$\\frac{1}{2}$$\n\nbut $5 and $6.");
      assert.match(html, /<table>[\s\S]*<td[^>]*>1<\/td>/);
      assert.match(html, /<span class="hljs-keyword">def<\/span>/);
      assert.match(html, /aria-label="Copy code"/);
      assert.match(html, /<msup>[\s\S]*<mi>x<\/mi>/);
      assert.match(html, /<mfrac>/);
      assert.match(html, /but \$5 and \$6\./);
    });

    test("shows HTML as text, and neither runs scripts nor requests pictures", async () => {
      it.requests.length = 0;
      const { html, text } = await draw(`<img src="/stolen?a" onerror="window.bad = 1"><script>window.bad = 1</script>

![alt](/stolen?b) [link](javascript:window.bad=1) [good](https://example.com/) \\(\\href{javascript:bad}{x}\\)

[ref]

[ref]: /stolen?c`);
      assert.ok(text.includes("<script>") && text.includes("<img"), text);
      assert.doesNotMatch(html, /<(img|script|iframe|style|form)\b/);
      assert.doesNotMatch(html, /<[^>]+(href="javascript|onerror=)/);
      assert.match(html, /<a [^>]*href="https:\/\/example\.com\/"[^>]*rel="noopener noreferrer"/);
      assert.equal(await it.page.evaluate(() => window.bad), undefined);
      assert.deepEqual(it.requests.filter((path) => path.startsWith("/stolen")), []);
    });

    test("keeps earlier blocks while a text grows, and shows no half markers", async () => {
      const { same } = await draw("First.\n\n", "First.\n\nSec", "First.\n\nSecond **bo", "First.\n\nSecond **bold**.");
      // The first block is drawn again once, when a second one follows it.
      assert.equal(same, false);
      const { same: kept } = await draw("First.\n\nS", "First.\n\nSecond **bo", "First.\n\nSecond **bold** and `co", "First.\n\nSecond.");
      assert.equal(kept, true);
      const closed = await it.page.evaluate(async () => {
        const { closed } = await import("./chat/markdown.js");
        return ["a **bo", "a **", "a `co", "**a** b", "```js\nlet a = `x", "a * b", "x\n\n**y"].map(closed);
      });
      assert.deepEqual(closed, ["a **bo**", "a ", "a `co`", "**a** b", "```js\nlet a = `x", "a * b", "x\n\n**y**"]);
    });

    test("takes its direction from the text", async () => {
      const { html } = await draw("مرحبا بالعالم\n\n```js\nlet a;\n```");
      assert.match(html, /<p dir="auto">/);
      assert.match(html, /<div class="code" dir="ltr">/);
    });
  });
});
