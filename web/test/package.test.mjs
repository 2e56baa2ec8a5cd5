// The built package in Node.js.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { device, FoveateError, load } from "../dist/index.js";
import * as support from "./support.mjs";

test("the wasm is at most 1.82 MB when gzipped, and with all scripts 1.90 MB", (t) => {
  const gzipped = (path) => gzipSync(readFileSync(new URL(path, import.meta.url)), { level: 9 }).length;
  const later = ["ai-sdk.js", "prompt-api.js", "stateless.js", "add.js", "node.js", "nodethread.js", "tokenizer.js"];
  const scripts = readdirSync(new URL("../dist", import.meta.url)).filter((name) => name.endsWith(".js") && !later.includes(name));
  const paths = ["../pkg/foveate_bg.wasm", "../pkg/foveate.js", ...scripts.map((name) => `../dist/${name}`)];
  const total = paths.reduce((bytes, path) => bytes + gzipped(path), 0);
  t.diagnostic(`${gzipped(paths[0])} bytes of wasm, ${total} in all`);
  assert.ok(gzipped(paths[0]) <= 1_820_000, `${gzipped(paths[0])} bytes`);
  assert.ok(total <= 1_900_000, `${total} bytes`);
});

test("modules that are loaded later are small when gzipped: parts 80 kB, constraints 490 kB, each interface 11 kB", (t) => {
  const gzipped = (path) => gzipSync(readFileSync(new URL(path, import.meta.url)), { level: 9 }).length;
  const folder = "../dist/openai/";
  const openai = readdirSync(new URL(folder, import.meta.url)).filter((name) => name.endsWith(".js")).map((name) => `${folder}${name}`);
  const modules = [
    [["../pkg/parts/foveate_bg.wasm", "../pkg/parts/foveate.js"], 80_000],
    [["../pkg/constrain/foveate_bg.wasm", "../pkg/constrain/foveate.js"], 490_000],
    [openai, 11_000],
    [["../dist/ai-sdk.js", "../dist/stateless.js"], 5_000],
    [["../dist/prompt-api.js"], 5_000],
  ];
  for (const [paths, most] of modules) {
    const bytes = paths.reduce((sum, path) => sum + gzipped(path), 0);
    t.diagnostic(`${bytes} bytes of ${paths.join(", ")}`);
    assert.ok(bytes <= most, `${paths}: ${bytes} bytes`);
  }
});

const { folder } = support;

test("a folder of files runs in Node.js on the CPU", { skip: support.skipGolden }, async () => {
  const { prompt, greedy } = support.goldenTokens("llama");
  const seen = [];
  const model = await load(folder("llama"), { onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes) });
  assert.match(model.device, /^cpu, /);
  assert.equal(model.architecture, "llama");
  assert.equal(model.hasTokenizer, false);
  assert.equal(seen.at(-1), 1);
  const ids = [];
  for await (const { id } of model.generateTokens(prompt, { maxTokens: greedy.length })) ids.push(id);
  assert.deepEqual(ids, greedy);
  model.dispose();
  await assert.rejects(model.stats(), { name: "FoveateError", code: "closed" });
});

test("threads in Node.js give the golden tokens, and do not keep the process running", { skip: support.skipGolden }, () => {
  const { prompt, greedy } = support.goldenTokens("llama");
  const files = ["config.json", "model.safetensors"].map((name) => support.goldenPath(`models/llama/${name}`));
  const script = `import { readFileSync } from "node:fs";
    import { basename } from "node:path";
    const { load } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url))});
    const files = ${JSON.stringify(files)}.map((path) => new File([readFileSync(path)], basename(path)));
    for (const threads of [3, 3]) {
      const model = await load(files, { threads });
      const ids = [];
      for await (const { id } of model.generateTokens(${JSON.stringify(prompt)}, { maxTokens: 8 })) ids.push(id);
      console.log(JSON.stringify([model.device, ids]));
      model.dispose();
    }`;
  const said = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8", timeout: 60_000 });
  for (const line of said.trim().split("\n")) {
    const [device, ids] = JSON.parse(line);
    assert.match(device, /^cpu, 3 threads/);
    assert.deepEqual(ids, greedy.slice(0, 8));
  }
});

test("two answers run independently at once", { skip: support.skipGolden }, async () => {
  const { prompt, greedy } = support.goldenTokens("qwen2");
  const model = await load(folder("qwen2"));
  const all = async () => {
    const ids = [];
    for await (const { id } of model.generateTokens(prompt, { maxTokens: 8 })) ids.push(id);
    return ids;
  };
  assert.deepEqual(await Promise.all([all(), all()]), [greedy.slice(0, 8), greedy.slice(0, 8)]);
  const { bytes } = await model.stats();
  await all();
  // The cache of an answer is freed when it ends.
  await new Promise((done) => setTimeout(done, 50));
  assert.ok((await model.stats()).bytes <= bytes);
  model.dispose();
});

test("two models at once and twenty in turn leak no memory", { skip: support.skipGolden }, async () => {
  const [llama, qwen] = ["llama", "qwen2"].map((family) => support.goldenTokens(family));
  const two = await Promise.all([load(folder("llama")), load(folder("qwen2"))]);
  const answers = [llama, qwen].map(({ prompt }, i) => two[i].generateTokens(prompt, { maxTokens: 6 }));
  const ids = [[], []];
  for (let n = 0; n < 6; n++) {
    for (const [i, answer] of answers.entries()) ids[i].push((await answer.next()).value.id);
  }
  assert.deepEqual(ids, [llama.greedy.slice(0, 6), qwen.greedy.slice(0, 6)]);
  for (const model of two) model.dispose();
  const bytes = [];
  for (let n = 0; n < 20; n++) {
    const model = await load(folder("llama"));
    const session = await model.session({ context: 64 });
    await session.append(llama.prompt);
    const fork = await session.fork();
    for await (const { id } of fork.generateTokens({ maxTokens: 2 })) assert.ok(id >= 0);
    await model.embed([1, 2, 3]);
    bytes.push((await model.stats()).wasmBytes);
    model.dispose();
  }
  assert.equal(bytes.at(-1), bytes[2], `${bytes}`);
});

test("invalid requests are refused with typed errors", { skip: support.skipGolden }, async () => {
  const model = await load(folder("llama"));
  const first = async (...args) => (await model.generateTokens(...args).next()).value;
  await assert.rejects(first([]), { code: "empty-prompt", message: "the prompt has no tokens" });
  await assert.rejects(first(new Array(model.context + 1).fill(1)), { code: "context-full" });
  await assert.rejects(first([model.vocabSize]), { code: "tokenizer" });
  await assert.rejects(first([1.5]), { code: "config" });
  for (const [options, message] of [
    [{ temperature: -1 }, /^temperature must be a finite number, 0 or more, got -1$/],
    [{ maxTokens: 1.5 }, /^maxTokens must be a whole number within 0 and 4294967295, got 1.5$/],
    [{ topP: "all" }, /^topP must be a finite number, got "all"$/],
    [{ topP: 7 }, /^topP must be 0 to 1, got 7$/],
    [{ stop: [""] }, /^stop must be a text of at least one character/],
    [{ samplers: { frequencyPenalty: NaN } }, /^frequencyPenalty must be a finite number, got NaN$/],
    [{ logitBias: { [model.vocabSize]: 1 } }, /^logitBias must be ID=X with an ID below/],
  ]) {
    await assert.rejects(first([1], options), { code: "config", message });
  }
  await assert.rejects(first("a text"), { code: "tokenizer" });
  await assert.rejects(first([{ role: "user", content: "hello" }]), { code: "template" });
  await assert.rejects(load(folder("llama"), { device: "gpu" }), { code: "device" });
  await assert.rejects(load(folder("llama"), { device: "tpu" }), { code: "config" });
  for (const nothing of [undefined, null, 5]) {
    await assert.rejects(first(nothing), { name: "FoveateError", code: "config" });
    await assert.rejects(load(nothing), { name: "FoveateError", code: "config" });
  }
  await assert.rejects(load("not a url"), { code: "read" });
  await assert.rejects(load(folder("llama").slice(1)), { code: "config" });
  // The model is still usable.
  assert.equal((await first([1])).id, (await first([1])).id);
  model.dispose();
});

test("an answer ends at the end of the context", { skip: support.skipGolden }, async () => {
  const model = await load(folder("llama"));
  const answer = model.generateTokens(new Array(model.context - 2).fill(1), { maxTokens: 100 });
  let count = 0;
  let last;
  while (!(last = await answer.next()).done) count++;
  assert.ok(count <= 3);
  assert.ok(["length", "stop"].includes(last.value.finishReason));
  model.dispose();
});

test("the same seed gives the same answer, another seed another one", { skip: support.skipGolden }, async () => {
  const model = await load(folder("llama"));
  const draw = async (seed) => {
    const ids = [];
    for await (const { id } of model.generateTokens([1, 2, 3], { maxTokens: 12, temperature: 1.5, seed })) ids.push(id);
    return ids.join();
  };
  assert.equal(await draw(1), await draw(1));
  assert.notEqual(await draw(1), await draw(2));
  model.dispose();
});

test("texts are scored, and tokens of answers have log-probabilities", { skip: support.skipGolden }, async () => {
  const { prompt } = support.goldenTokens("llama");
  const model = await load(folder("llama"));
  const scores = await model.score(prompt);
  assert.deepEqual(scores.map(({ id }) => id), prompt.slice(1));
  for (const { logprob, entropy, rank } of scores) {
    assert.ok(logprob < 0 && entropy > 0 && entropy <= Math.log(model.vocabSize));
    assert.ok(Number.isInteger(rank) && rank >= 0 && rank < model.vocabSize);
  }
  const plain = { maxTokens: 6, temperature: 1, seed: 3, repetitionPenalty: 1.2 };
  const [ids, told] = [[], []];
  for await (const { id } of model.generateTokens(prompt, plain)) ids.push(id);
  for await (const token of model.generateTokens(prompt, { ...plain, logprobs: 2 })) told.push(token);
  assert.deepEqual(told.map(({ id }) => id), ids, "logprobs do not change the tokens");
  // Scoring the answer as a text gives the same probabilities.
  const whole = (await model.score([...prompt, ...ids])).slice(-ids.length);
  told.forEach(({ id, score }, i) => {
    assert.equal(score.rank, whole[i].rank);
    assert.ok(Math.abs(score.logprob - whole[i].logprob) < 1e-3 && Math.abs(score.entropy - whole[i].entropy) < 1e-3);
    const [first, second] = score.topLogprobs;
    assert.ok(score.topLogprobs.length === 2 && first.logprob >= second.logprob && first.logprob >= score.logprob - 1e-9);
    assert.equal(score.rank === 0, first.id === id);
  });
  await assert.rejects(model.score([]), { code: "empty-prompt" });
  await assert.rejects(model.score(prompt, { signal: AbortSignal.abort() }), { code: "cancelled" });
  await assert.rejects(model.generateTokens(prompt, { logprobs: 1000 }).next(), { code: "config" });
  model.dispose();
});

test("a browser without WebAssembly SIMD gets an error that says so", () => {
  for (const missing of ["WebAssembly.validate = () => false", "delete globalThis.WebAssembly"]) {
    const script = `${missing};
      const { load } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url))});
      load([]).catch(({ name, code, message }) => console.log(JSON.stringify([name, code, message])));`;
    const said = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" });
    const sentence = "this browser lacks WebAssembly SIMD (simd128): use a newer browser";
    assert.deepEqual(JSON.parse(said), ["FoveateError", "unsupported", sentence]);
  }
});

test("any thrown value becomes a FoveateError", () => {
  assert.equal(FoveateError.from(new TypeError("x")).code, "internal");
  assert.equal(FoveateError.from("x").message, "x");
  assert.equal(FoveateError.from(new DOMException("x", "AbortError")).code, "cancelled");
});

test("linear with rounded activations is near f32, and only quantized formats round", async () => {
  const kinds = [["reference", {}], ["cpu", {}], ["cpu", { exact: false }]];
  const [reference, exact, rounded] = await Promise.all(kinds.map((kind) => device(...kind)));
  const [inputs, outputs] = [160, 33];
  for (const format of ["q4_0", "q4_1", "q8_0", "f16"]) {
    const size = { K: inputs, N: outputs, format };
    // The product with the identity is the dequantized weights.
    const one = { shape: [inputs, inputs], data: Float32Array.from({ length: inputs ** 2 }, (_, i) => Number(i % (inputs + 1) === 0)) };
    const { weight } = await reference.inputs("linear", { ...size, T: inputs }, 3);
    const { y: weights } = await reference.linear({ ...size, T: inputs }, { x: one, weight });
    for (const tokens of [1, 2, 3, 4, 7, 8, 9, 40]) {
      const { x } = await reference.inputs("linear", { ...size, T: tokens }, tokens);
      const [want, near, got] = await Promise.all([reference, exact, rounded].map((cpu) => cpu.linear({ ...size, T: tokens }, { x, weight })));
      let worst = 0;
      for (let t = 0; t < tokens; t++) {
        for (let n = 0; n < outputs; n++) {
          let sum = 0;
          for (let k = 0; k < inputs; k++) sum += Math.abs(x.data[t * inputs + k] * weights.data[k * outputs + n]);
          worst = Math.max(worst, Math.abs(got.y.data[t * outputs + n] - want.y.data[t * outputs + n]) / sum);
        }
      }
      const what = `${format}, ${tokens} tokens: ${worst}`;
      assert.ok(worst < 3e-5, what);
      const same = got.y.data.every((y, i) => y === near.y.data[i]);
      assert.equal(same, format === "f16", what);
    }
  }
  for (const cpu of [reference, exact, rounded]) cpu.dispose();
});
