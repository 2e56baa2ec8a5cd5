// Tokenizers and chat templates without models.

import assert from "node:assert/strict";
import { openAsBlob, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load, tokenizer } from "../dist/index.js";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";
import { PLAIN } from "./talking.mjs";

const fileOf = (name, value) => new File([JSON.stringify(value)], name);
const EVERY_TOKEN = { single_word: false, lstrip: false, rstrip: false, normalized: false };
const MESSAGES = [{ role: "user", content: "Name three fruits." }];

test("SmolLM2's file gives the ids and the chat of transformers in Node.js", { skip: support.skipModel }, async () => {
  const { prompts, chat } = support.smollm2Golden();
  const words = await tokenizer(await openAsBlob(support.modelPath(support.smollm2)));
  for (const { text, ids } of prompts) {
    assert.deepEqual([...words.encode(text)], ids);
    assert.equal(words.decode(ids), text);
    assert.equal(words.count(text), ids.length);
  }
  assert.equal(words.render(MESSAGES), chat.rendered);
  assert.equal(words.count(MESSAGES), chat.ids.length);
  assert.deepEqual([words.vocabSize, words.hasTemplate], [49152, true]);
  assert.equal(words.id(words.token(1)), 1);
  assert.equal(words.token(49152), undefined);
  assert.throws(() => words.decode([1.5]), { name: "FoveateError", code: "config" });
  words.dispose();
});

test("a tokenizer.json is enough; with the files beside it, there is a template", async () => {
  const folder = smallFolder(["attention"]);
  const json = new File([readFileSync(join(folder, "tokenizer.json"))], "tokenizer.json");
  rmSync(folder, { recursive: true });
  for (const source of [json, await json.arrayBuffer(), [json]]) {
    const words = await tokenizer(source);
    assert.equal(words.decode(words.encode("Äpfel")), "Äpfel");
    assert.deepEqual([words.vocabSize, words.hasTemplate], [256, false]);
    assert.throws(() => words.render(MESSAGES), { code: "template", message: "chat template: the model has none" });
  }
  const words = await tokenizer([json, new File([JSON.stringify({ chat_template: PLAIN })], "tokenizer_config.json")]);
  assert.equal(words.render(MESSAGES), "user: Name three fruits.\nassistant: ");
  assert.equal(words.count(MESSAGES), 36);
});

/** Tokens of published tokenizers and where their texts end, as core/tests/readers/ends.rs reads them. */
const published = JSON.parse(readFileSync(new URL("../../core/tests/data/ends.json", import.meta.url)));

for (const { name, eos_token, config, generation, special, added, plain, ends } of published) {
  test(`a text ends at the tokens of the command line: ${name}`, async () => {
    const list = (tokens, special) => Object.entries(tokens).map(([content, id]) => ({ ...EVERY_TOKEN, id, content, special }));
    const added_tokens = [...list(special, true), ...list(added, false)].sort((a, b) => a.id - b.id);
    const file = { version: "1.0", added_tokens, model: { type: "BPE", vocab: { ...special, ...added, ...plain }, merges: [] } };
    const words = [fileOf("tokenizer.json", file), fileOf("tokenizer_config.json", { eos_token })];
    const listed = new Set([config, generation].flat().filter((id) => id !== null));
    const alone = await tokenizer(words);
    assert.deepEqual([...new Set([...alone.endTokens, ...listed])].sort((a, b) => a - b), ends);
    // The small model has 256 tokens: ids of lists need not be among them.
    const folder = smallFolder(["attention"]);
    const small = JSON.parse(readFileSync(join(folder, "config.json")));
    const weights = new File([readFileSync(join(folder, "model.safetensors"))], "model.safetensors");
    rmSync(folder, { recursive: true });
    const files = [fileOf("config.json", { ...small, eos_token_id: config }), fileOf("generation_config.json", { eos_token_id: generation })];
    const model = await load([...files, weights, ...words], { device: "cpu", threads: 1 });
    assert.deepEqual(model.endTokens, ends);
    model.dispose();
  });
}

test("older files are read where there is no tokenizer_config.json", async () => {
  const vocab = Object.fromEntries([..."ab"].map((token, id) => [token, id]));
  const file = fileOf("tokenizer.json", { version: "1.0", added_tokens: [], model: { type: "BPE", vocab, merges: [] } });
  const beside = [fileOf("special_tokens_map.json", { eos_token: "<z>" }), fileOf("chat_template.json", { chat_template: PLAIN })];
  const words = await tokenizer([file, fileOf("added_tokens.json", { "<y>": 2, "<z>": 3 }), ...beside]);
  assert.deepEqual([words.vocabSize, words.hasTemplate, words.endTokens], [4, true, [3]]);
});

test("what is no tokenizer is an error", { skip: support.skipGolden }, async () => {
  await assert.rejects(tokenizer(support.folder("llama")), { code: "tokenizer", message: /needs a tokenizer\.json/ });
  await assert.rejects(tokenizer(new Blob(["{}"])), { name: "FoveateError", code: "tokenizer" });
  await assert.rejects(tokenizer(new Blob(["<!doctype html>"])), { code: "format", reason: "html" });
  await assert.rejects(tokenizer(new Blob([]), { threads: 1 }), { code: "config", message: /tokenizer has no option threads/ });
});

support.inChromium("tokenizers in Chromium", support.skipBrowser || support.skipModel, ({ page, serving, requests }) => {
  test("the header of a model's file is read, and not the weights", async (t) => {
    const { prompts, chat } = support.smollm2Golden();
    serving(() => undefined);
    const [ids, rendered] = await page.evaluate(
      async ([source, text, messages]) => {
        const words = await foveate.tokenizer(source, { cache: false });
        return [[...words.encode(text)], words.render(messages)];
      },
      [`/models/${support.smollm2}`, prompts[0].text, MESSAGES],
    );
    assert.deepEqual([ids, rendered], [prompts[0].ids, chat.rendered]);
    const ranges = requests.filter(({ path }) => path.endsWith(".gguf")).map(({ headers }) => headers.range.match(/\d+/g).map(Number));
    const bytes = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    t.diagnostic(`${bytes} bytes of the file`);
    assert.ok(bytes <= 4 * 2 ** 20, `${bytes}`);
    assert.ok(!requests.some(({ path }) => path.endsWith("worker.js")));
  });

  test("the files beside a tokenizer.json on a server are read, and kept", async () => {
    const { ids, again } = await page.evaluate(async () => {
      const files = { "tokenizer.json": undefined, "tokenizer_config.json": '{ "chat_template": "{{ messages[0].content }}" }' };
      const vocab = Object.fromEntries([..."abc"].map((token, id) => [token, id]));
      files["tokenizer.json"] = JSON.stringify({ version: "1.0", added_tokens: [], model: { type: "BPE", vocab, merges: [] } });
      let asked = 0;
      const fetch = async (address) => {
        asked++;
        const body = files[new URL(address).pathname.split("/").pop()];
        return new Response(body, { status: body === undefined ? 404 : 200 });
      };
      const open = () => foveate.tokenizer("https://example.com/model/tokenizer.json", { fetch });
      const ids = [...(await open()).encode((await open()).render([{ role: "user", content: "cab" }]))];
      const before = asked;
      files["tokenizer.json"] = files["tokenizer_config.json"] = undefined;
      const words = await open();
      await foveate.cache.clear();
      return { ids, again: [words.count("abc"), asked - before] };
    });
    assert.deepEqual(ids, [2, 0, 1]);
    // Only the files that are not there are asked for again: a template of its own and two files of older folders.
    assert.deepEqual(again, [3, 3]);
  });
});
