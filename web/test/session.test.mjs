// Sessions: append, generate, roll back, fork, augment, save and restore.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { load } from "../dist/index.js";
import * as support from "./support.mjs";

const LATENT = 0xffff_ffff;

describe("sessions in Node.js", { skip: support.skipGolden }, () => {
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");
  const folder = (family) => support.folder(family);
  let model;

  before(async () => (model = await load(folder("llama"))));
  after(() => model?.dispose());

  const answer = async (session, maxTokens = 8) => {
    const ids = [];
    for await (const { id } of session.generateTokens({ maxTokens })) ids.push(id);
    return ids;
  };

  test("a text appended in pieces is answered like a whole one, and the answer becomes part of the session", async () => {
    const session = await model.session();
    assert.equal(await session.append(prompt.slice(0, 3)), 3);
    assert.equal(await session.append(prompt.slice(3)), prompt.length);
    assert.deepEqual(await answer(session, 5), greedy.slice(0, 5));
    assert.deepEqual(await answer(session, 3), greedy.slice(5, 8), "a second answer continues the first");
    assert.deepEqual([...(await session.tokens())], [...prompt, ...greedy.slice(0, 8)]);
    session.dispose();
    await assert.rejects(session.tokens(), { code: "closed" });
  });

  test("a session rolls back to lengths and snapshots, and forks are independent", async () => {
    const session = await model.session({ pool: 2048 });
    await session.append(prompt);
    const snapshot = await session.snapshot();
    assert.equal(snapshot.length, prompt.length);
    assert.deepEqual(await answer(session), greedy.slice(0, 8));
    const fork = await session.fork();
    const early = await session.fork(snapshot);
    assert.deepEqual(await answer(fork, 4), greedy.slice(8, 12));
    assert.deepEqual(await answer(early, 4), greedy.slice(0, 4));
    await session.rollback(prompt.length + 2);
    assert.deepEqual(await answer(session, 4), greedy.slice(2, 6));
    await session.rollback(snapshot);
    assert.deepEqual(await answer(session, 4), greedy.slice(0, 4));
    assert.deepEqual(await session.rewrite([...prompt, 5]), { promptTokens: prompt.length + 1, cachedTokens: prompt.length });
    // The last token is read again: the next one follows from it.
    assert.deepEqual(await session.rewrite(prompt), { promptTokens: prompt.length, cachedTokens: prompt.length - 1 });
    assert.deepEqual(await answer(session, 4), greedy.slice(0, 4));
    await session.rollback(0);
    assert.equal((await session.tokens()).length, 0);
    await assert.rejects(answer(session), { code: "empty-prompt" });
    await assert.rejects(session.rollback(1), { code: "rollback" });
    await assert.rejects(session.rollback(-1), { code: "config" });
    for (const one of [session, fork, early, snapshot]) one.dispose();
  });

  test("every asynchronous call can be cancelled", async () => {
    const session = await model.session();
    await session.append(prompt);
    const ended = { signal: AbortSignal.abort() };
    const calls = [
      () => session.append([1], ended),
      () => session.rewrite([1], ended),
      () => session.rollback(1, ended),
      () => session.snapshot(ended),
      () => session.fork(undefined, ended),
      () => session.tokens(ended),
      () => session.segments(ended),
      () => session.save(ended),
      () => session.generate(ended).next(),
      () => model.session(ended),
      async () => model.restore(await session.save(), ended),
      () => model.render([{ role: "user", content: "" }], ended),
      () => model.tokenize("", ended),
      () => model.detokenize([1], ended),
      () => model.score(prompt, ended),
      () => model.embed(prompt, ended),
      () => model.profile({ prompt, ...ended }),
      () => model.report(ended),
      () => model.stats(ended),
      () => load(folder("llama"), ended),
    ];
    for (const call of calls) {
      const code = await call().then(() => "none", ({ code }) => code);
      assert.equal(code, "cancelled", String(call));
    }
    assert.deepEqual([...(await session.tokens())], prompt);
    const late = new AbortController();
    const report = model.report({ signal: late.signal });
    setTimeout(() => late.abort(), 5);
    await assert.rejects(report, { code: "cancelled" });
    session.dispose();
  });

  test("a saved session continues in another instance of the model", async () => {
    const session = await model.session({ context: 100 });
    await session.append(prompt);
    await answer(session, 4);
    const saved = await session.save();
    assert.deepEqual(await answer(session, 4), greedy.slice(4, 8), "saving changes nothing");
    const [other, qwen] = [await load(folder("llama")), await load(folder("qwen2"))];
    const restored = await other.restore(saved, { context: 100 });
    assert.deepEqual([...(await restored.tokens())], [...prompt, ...greedy.slice(0, 4)]);
    assert.deepEqual(await answer(restored, 4), greedy.slice(4, 8));
    await assert.rejects(qwen.restore(saved, { context: 100 }), { code: "mismatch" });
    await assert.rejects(other.restore(saved, { context: 100, kv: "f16" }), { code: "mismatch" });
    await assert.rejects(other.restore(saved, { context: prompt.length }), { code: "context-full" });
    await assert.rejects(other.restore(saved.slice(0, -1)), { code: "format" });
    other.dispose();
    qwen.dispose();
  });

  test("latents are spliced in, and failed latents leave the session unchanged", async () => {
    const session = await model.session();
    await session.append(prompt);
    let view;
    const rows = (count, x = 0.1) => new Float32Array(count * model.width).fill(x);
    const wrong = {
      nothing: async () => null,
      failed: async () => assert.fail("no latents"),
      "not finite": async () => rows(1, NaN),
      "too many": async () => rows(17),
      "no rows": async () => rows(1).subarray(1),
    };
    for (const [name, coprocessor] of Object.entries(wrong)) {
      const { spliced, reason } = await session.augment(coprocessor);
      assert.ok(!spliced && reason.length > 0, name);
    }
    // The timer of AbortSignal.timeout does not keep Node.js running.
    const patience = new AbortController();
    setTimeout(() => patience.abort(), 20);
    const late = session.augment(() => new Promise(() => {}), { signal: patience.signal });
    assert.deepEqual(await answer(session), greedy.slice(0, 8), "decoding goes on");
    assert.equal((await late).spliced, false);
    await session.rollback(prompt.length);
    assert.deepEqual(await answer(session), greedy.slice(0, 8));

    await session.rollback(prompt.length);
    const text = { kind: "text", start: 0, length: prompt.length, position: 0 };
    assert.deepEqual(await session.segments(), [text]);
    const good = await session.augment(async (seen) => ((view = seen), rows(2)), { latents: 2 });
    assert.deepEqual(good, { spliced: true });
    const read = prompt.length - 1;
    assert.deepEqual([...view.tokens], prompt.slice(0, read));
    assert.deepEqual([...view.positions], [...Array(read).keys()]);
    assert.ok(view.layers.length > 0 && view.width === model.width && view.latents === 2);
    for (const { keys, values } of view.layers) {
      assert.ok(keys.length === values.length && keys.length % read === 0 && keys.every(Number.isFinite));
    }
    const tokens = [...(await session.tokens())];
    assert.deepEqual(tokens, [...prompt.slice(0, read), LATENT, LATENT, prompt[read]]);
    const behind = (length) => [
      { kind: "text", start: 0, length: read, position: 0 },
      { kind: "latent", start: read, length: 2, position: read },
      { kind: "text", start: read + 2, length, position: read + 2 },
    ];
    assert.deepEqual(await session.segments(), behind(1));
    assert.equal((await answer(session, 4)).length, 4);
    assert.deepEqual(await session.segments(), behind(5));
    await session.rollback(read - 1);
    assert.deepEqual(await session.segments(), [{ ...text, length: read - 1 }]);
    await session.rollback(0);
    assert.deepEqual(await session.segments(), []);
    session.dispose();
  });

  test("a profile lists the ops of prefill and decode", async () => {
    const { bytes } = await model.stats();
    const { clock, prefill, decode } = await model.profile({ prompt, maxTokens: 4 });
    assert.equal(clock, "host");
    assert.deepEqual([prefill.tokens, decode.tokens], [prompt.length - 1, 4]);
    for (const { ops } of [prefill, decode]) {
      assert.ok(ops.some(({ op }) => op.startsWith("attention H=")) && ops.some(({ op }) => op.startsWith("embed ")));
      assert.ok(Math.abs(ops.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9);
      assert.ok(ops.every(({ runs, seconds, bytes }) => runs >= 1 && seconds >= 0 && bytes > 0));
      assert.deepEqual(ops.map(({ seconds }) => seconds), ops.map(({ seconds }) => seconds).sort((a, b) => b - a));
    }
    // Only decode steps sample.
    assert.deepEqual([prefill, decode].map(({ ops }) => ops.find(({ op }) => op === "sample")?.runs), [undefined, 4]);
    assert.equal((await model.profile({ prompt: [1], maxTokens: 1 })).prefill.ops.length, 0);
    await assert.rejects(model.profile({ prompt: [] }), { code: "empty-prompt" });
    await assert.rejects(model.profile({ prompt, maxTokens: 0 }), { code: "config" });
    await assert.rejects(model.profile({ prompt, maxTokens: 1e6 }), { code: "context-full" });
    await assert.rejects(model.profile({ prompt, signal: AbortSignal.abort() }), { code: "cancelled" });
    assert.equal((await model.stats()).bytes, bytes);
  });

  test("an append that is cancelled or too long leaves the session unchanged", async () => {
    const session = await model.session({ context: 40, kv: "f16" });
    await session.append([1, 2, 3]);
    await assert.rejects(session.append([4], { signal: AbortSignal.abort() }), { code: "cancelled" });
    const controller = new AbortController();
    const stopped = session.append(new Array(36).fill(5), { signal: controller.signal });
    queueMicrotask(() => controller.abort());
    await assert.rejects(stopped, { code: "cancelled" });
    await assert.rejects(session.append(new Array(38).fill(5)), { code: "context-full" });
    await assert.rejects(session.append([model.vocabSize]), { code: "tokenizer" });
    assert.deepEqual([...(await session.tokens())], [1, 2, 3]);
    session.dispose();
    await assert.rejects(model.session({ kv: "q4_0" }), { code: "config" });
    await assert.rejects(model.session({ context: 0 }), { code: "config" });
  });

  test("a report has the device and passing checks of all ops", async () => {
    const { device, fallbackReason, devicesLost, findings } = await model.report();
    assert.match(device, /^cpu/);
    assert.match(fallbackReason, /no WebGPU/);
    assert.equal(devicesLost, 0);
    assert.ok(findings.length > 20 && findings.every(({ passed }) => passed), JSON.stringify(findings));
    await assert.rejects(model.report({ signal: AbortSignal.abort() }), { code: "cancelled" });
  });

  test("embeddings are pooled hidden states of the tokens", async () => {
    const [mean, last, all] = await Promise.all(["mean", "last", "none"].map((pooling) => model.embed(prompt, { pooling, normalize: false })));
    const { width } = model;
    assert.equal(all.length, prompt.length * width);
    assert.deepEqual([...last], [...all.subarray(-width)]);
    for (let i = 0; i < width; i++) {
      const sum = prompt.reduce((sum, _, t) => sum + all[t * width + i], 0);
      assert.ok(Math.abs(mean[i] - sum / prompt.length) < 1e-5);
    }
    const [unit, short] = await Promise.all([model.embed(prompt), model.embed(prompt, { dimensions: 3 })]);
    const lengths = [Math.hypot(...mean), Math.hypot(...mean.slice(0, 3))];
    mean.forEach((x, i) => assert.ok(Math.abs(unit[i] - x / lengths[0]) < 1e-6));
    short.forEach((x, i) => assert.ok(Math.abs(x - mean[i] / lengths[1]) < 1e-6));
    assert.equal(short.length, 3);
    await assert.rejects(model.embed(prompt, { dimensions: width + 1 }), { code: "config" });
    await assert.rejects(model.embed([]), { code: "empty-prompt" });
    await assert.rejects(model.embed(prompt, { signal: AbortSignal.abort() }), { code: "cancelled" });
  });
});

support.inChromium("sessions in Chromium", support.skipBrowser || support.skipGolden, ({ page, tab }) => {
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");

  for (const device of ["cpu", "gpu"]) {
    test(`a session on ${device} is forked, augmented, saved and restored`, async () => {
      const got = await page.evaluate(
        async ({ device, prompt }) => {
          const model = await window.foveate.load("/golden/models/llama/", { device });
          const answer = async (session) => {
            const ids = [];
            for await (const { id } of session.generateTokens({ maxTokens: 4 })) ids.push(id);
            return ids;
          };
          const session = await model.session({ pool: 2048 });
          await session.append(prompt);
          const snapshot = await session.snapshot();
          const first = await answer(session);
          const saved = await session.save();
          const restored = await answer(await model.restore(saved));
          const forked = await answer(await session.fork(snapshot));
          await session.rollback(snapshot);
          const latents = new Float32Array(model.width).fill(0.1);
          const [good, bad] = [
            await session.augment(async ({ layers }) => (layers.length > 0 ? latents : null)),
            await session.augment(() => Promise.reject(new Error("no"))),
          ];
          const augmented = (await answer(session)).length;
          const vector = [...(await model.embed(prompt, { pooling: "last", normalize: false }))];
          model.dispose();
          return { first, restored, forked, good, bad, augmented, vector, size: saved.size };
        },
        { device, prompt },
      );
      assert.deepEqual([got.first, got.restored, got.forked], [greedy.slice(0, 4), greedy.slice(4, 8), greedy.slice(0, 4)]);
      assert.deepEqual([got.good, got.bad], [{ spliced: true }, { spliced: false, reason: "no" }]);
      assert.ok(got.augmented === 4 && got.size > 1000 && got.vector.every(Number.isFinite));
    });
  }

  test("a GPU is profiled with its timestamps, and refuses without them", async () => {
    const got = await page.evaluate(async (prompt) => {
      const adapter = await navigator.gpu.requestAdapter();
      const run = async (options) => {
        const model = await window.foveate.load("/golden/models/llama/", { device: "gpu", ...options });
        let profile;
        const error = await window.thrown(async () => (profile = await model.profile({ prompt, maxTokens: 4 })));
        const ids = [];
        for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
        model.dispose();
        return { profile, error, ids };
      };
      const able = adapter.features.has("timestamp-query");
      return { able, all: await run({}), baseline: await run({ baseline: true }) };
    }, prompt);
    assert.deepEqual([got.all.ids, got.baseline.ids], [greedy.slice(0, 4), greedy.slice(0, 4)]);
    const refused = (error) => assert.deepEqual([error.ours, error.code], [true, "device"]);
    refused(got.baseline.error);
    if (!got.able) return refused(got.all.error);
    assert.equal(got.all.error, undefined);
    const { clock, prefill, decode } = got.all.profile;
    assert.equal(clock, "device");
    assert.deepEqual([prefill.tokens, decode.tokens], [prompt.length - 1, 4]);
    assert.equal(decode.ops.find(({ op }) => op === "sample").runs, 4);
    assert.ok([...prefill.ops, ...decode.ops].every(({ seconds, bytes }) => seconds >= 0 && bytes > 0));
  });

  test("answers and sessions continue with the same tokens after a device is lost", async () => {
    const got = await page.evaluate(async (prompt) => {
      const { devices, end } = window.devicesFromHere();
      let events = 0;
      const options = { device: "gpu", worker: false, onDeviceLost: () => events++ };
      const model = await window.foveate.load("/golden/models/llama/", options);
      const session = await model.session();
      await session.append(prompt);
      const snapshot = await session.snapshot();
      const run = async (answer, at) => {
        const ids = [];
        for await (const { id } of answer) {
          ids.push(id);
          if (ids.length === at) devices.at(-1).destroy();
        }
        return ids;
      };
      // Lost during an answer of the model and one of the session, and between two steps.
      const answers = await Promise.all([
        run(model.generateTokens(prompt, { maxTokens: 6 }), 3),
        run(session.generateTokens({ maxTokens: 6 })),
      ]);
      devices.at(-1).destroy();
      await session.append([1]);
      const { length } = await session.tokens();
      await session.rollback(snapshot);
      answers.push(await run(session.generateTokens({ maxTokens: 6 })));
      // Without a new device, the loss is an error.
      GPUAdapter.prototype.requestDevice = () => Promise.reject(new TypeError("no more devices"));
      devices.at(-1).destroy();
      const error = await window.thrown(() => run(session.generateTokens({ maxTokens: 6 })));
      model.dispose();
      end();
      return { answers, events, length, error, devices: devices.length };
    }, prompt);
    const wanted = greedy.slice(0, 6);
    assert.deepEqual(got.answers, [wanted, wanted, wanted]);
    assert.equal(got.length, prompt.length + 7);
    assert.deepEqual([got.events, got.devices], [2, 3]);
    assert.equal(got.error.code, "device");
  });

  test("an answer in a worker continues after a device is lost", async () => {
    // Exposes the worker's device, for the test to destroy.
    const spied = `const { requestDevice } = GPUAdapter.prototype;
      GPUAdapter.prototype.requestDevice = async function (...args) {
        return (globalThis.latest = await requestDevice.apply(this, args));
      };`;
    const restore = await support.prefix(tab(), "**/dist/worker.js", spied);
    await page.evaluate(async () => {
      window.events = 0;
      window.model = await window.foveate.load("/golden/models/llama/", { device: "gpu", onDeviceLost: () => window.events++ });
    });
    const more = (count) =>
      page.evaluate(
        async ({ prompt, count }) => {
          window.tokens ??= window.model.generateTokens(prompt, { maxTokens: 6 });
          const ids = [];
          while (ids.length < count) ids.push((await window.tokens.next()).value.id);
          return ids;
        },
        { prompt, count },
      );
    const first = await more(3);
    const [worker] = tab().workers();
    await worker.evaluate(() => globalThis.latest.destroy());
    assert.deepEqual([...first, ...(await more(3))], greedy.slice(0, 6));
    assert.equal(await page.evaluate(() => (window.model.dispose(), window.events)), 1);
    await restore();
  });
});
