// The start-up self-test, on a driver that takes shaders and computes something else.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

support.inChromium("the self-test of a GPU in Chromium", support.skipBrowser || support.skipGolden, ({ page, tab }) => {
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");

  /**
   * An answer on a GPU that passes for a real one. A shader that the first of a fault finds something in gets
   * the fault's third text in the place of its second, wherever that stands.
   */
  const answer = (faults, options) =>
    page.evaluate(
      async ({ faults, options, prompt }) => {
        const { createShaderModule } = GPUDevice.prototype;
        const fallback = Object.getOwnPropertyDescriptor(GPUAdapterInfo.prototype, "isFallbackAdapter");
        Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { configurable: true, get: () => false });
        GPUDevice.prototype.createShaderModule = function (descriptor) {
          let { code } = descriptor;
          for (const [mark, from, to] of faults) if (new RegExp(mark).test(code)) code = code.replaceAll(from, to);
          return createShaderModule.call(this, { ...descriptor, code });
        };
        try {
          const result = {};
          result.error = await window.thrown(async () => {
            const began = performance.now();
            const model = await window.foveate.load("/golden/models/llama/", { worker: false, ...options });
            result.ms = performance.now() - began;
            result.ids = [];
            for await (const { id } of model.generateTokens(prompt, { maxTokens: 2 })) result.ids.push(id);
            const { device, passedOver, trial } = await model.report({ check: false });
            Object.assign(result, { device, passedOver, trial });
            model.dispose();
          });
          return result;
        } finally {
          GPUDevice.prototype.createShaderModule = createShaderModule;
          Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", fallback);
        }
      },
      { faults, options, prompt },
    );

  test("what gives wrong numbers or does not compile is replaced, and the tokens are right", async (t) => {
    // The norm of GPUs, whose lanes software drivers don't have, and the products of single tokens.
    const norm = ["const GROUP: u32 = (64|256)u;\\nconst LAYER", "reduced[lane + width]", "1.5 * reduced[lane + width]"];
    const product = ["fn finish.token: u32, first: u32, sums: vec4f, scale", "workgroupBarrier();", "no statement;"];
    const got = await answer([norm, product], { device: "gpu" });
    assert.equal(got.error, undefined);
    t.diagnostic(`loaded in ${got.ms.toFixed()} ms; ${JSON.stringify(got.trial)}`);
    assert.deepEqual(got.ids, greedy.slice(0, 2));
    const [plain, fused, last, ...more] = got.trial.fallbacks;
    assert.deepEqual([plain.op, fused.op, last.op, more.length], ["linear", "fused_linear", "norm", 0]);
    assert.match(fused.detail, /^fused_linear_\w+: .*statement/);
    assert.match(last.detail, /^norm_\w+: \w+: .*\d/);
    assert.deepEqual(got.trial.untried, []);
  });

  test("pipelines compile beside each other, and are there before the first answer", async (t) => {
    // The worker's own calls.
    const spied = `const { createComputePipeline, createComputePipelineAsync } = GPUDevice.prototype;
      globalThis.spied = { now: 0, ahead: 0, flying: 0, most: 0 };
      GPUDevice.prototype.createComputePipeline = function (descriptor) {
        spied.now++;
        return createComputePipeline.call(this, descriptor);
      };
      GPUDevice.prototype.createComputePipelineAsync = async function (descriptor) {
        spied.ahead++;
        spied.most = Math.max(spied.most, ++spied.flying);
        return createComputePipelineAsync.call(this, descriptor).finally(() => spied.flying--);
      };`;
    // Before everything that is imported, which may wrap them in its turn.
    const restore = await support.prefix(tab(), "**/dist/pipelines.js", spied);
    const progress = await page.evaluate(async () => {
      const progress = [];
      const options = { device: "gpu", selfTest: true, onProgress: (p) => progress.push(p) };
      window.model = await window.foveate.load("/golden/models/llama/", options);
      return progress;
    });
    const calls = () => tab().workers()[0].evaluate(() => ({ ...globalThis.spied }));
    const loaded = await calls();
    const { compiled, pipelines } = progress.at(-1);
    assert.ok(pipelines > 10 && compiled === pipelines && loaded.ahead === pipelines, `${compiled} of ${pipelines}, ${JSON.stringify(loaded)}`);
    assert.ok(loaded.most > 1 && loaded.flying === 0, JSON.stringify(loaded));
    assert.ok(progress.every(({ bytes, of, compiled }, i) => of > 0 && bytes <= of && (i === 0 || compiled >= progress[i - 1].compiled)));
    const ids = await page.evaluate(async (prompt) => {
      const ids = [];
      for await (const { id } of window.model.generateTokens(prompt, { maxTokens: 2 })) ids.push(id);
      return ids;
    }, prompt);
    assert.deepEqual(ids, greedy.slice(0, 2));
    const answered = await calls();
    t.diagnostic(`${JSON.stringify(loaded)}, then ${JSON.stringify(answered)}`);
    assert.equal(answered.now, loaded.now, "none is compiled while an answer waits for it");
    await page.evaluate(() => window.model.dispose());
    await restore();
  });

  test("a GPU that has an op in no right form is passed over, or refused where it was asked for", async () => {
    const embed = ["weight4.id - params.row0, k.", "params.scale * weight4", "2.0 * params.scale * weight4"];
    const auto = await answer([embed], { device: "auto" });
    assert.equal(auto.error, undefined);
    assert.match(auto.device, /^cpu/);
    assert.match(auto.passedOver, /embed is wrong here in every form: embed_\w+/);
    assert.deepEqual(auto.ids, greedy.slice(0, 2));
    const gpu = await answer([embed], { device: "gpu" });
    assert.equal(gpu.error.code, "device");
    assert.match(gpu.error.message, /embed is wrong here/);
  });
});
