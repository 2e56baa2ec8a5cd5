// The self-test while loading, on a driver that compiles shaders wrongly.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

support.inChromium("the self-test of a GPU in Chromium", support.skipBrowser || support.skipGolden, ({ page, tab }) => {
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");

  /**
   * Generates on a GPU that poses as a hardware GPU. A fault is `[pattern, from, to]`: in shaders that match the pattern,
   * all occurrences of `from` become `to`.
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
            const { device, fallbackReason, selfTest } = await model.report({ check: false });
            Object.assign(result, { device, fallbackReason, selfTest });
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

  test("kernels that are wrong or do not compile are replaced, and the tokens are right", async (t) => {
    // The norm kernel of hardware GPUs, and the linear kernel of single tokens.
    const norm = ["const GROUP: u32 = (64|256)u;\\nconst LAYER", "reduced[lane + width]", "1.5 * reduced[lane + width]"];
    const product = ["fn finish.token: u32, first: u32, sums: vec4f, scale", "workgroupBarrier();", "no statement;"];
    const got = await answer([norm, product], { device: "gpu", baseline: true });
    assert.equal(got.error, undefined);
    t.diagnostic(`loaded in ${got.ms.toFixed()} ms; ${JSON.stringify(got.selfTest)}`);
    assert.deepEqual(got.ids, greedy.slice(0, 2));
    const [plain, fused, last, ...more] = got.selfTest.fallbacks;
    assert.deepEqual([plain.op, fused.op, last.op, more.length], ["linear", "fused_linear", "norm", 0]);
    assert.match(fused.detail, /^fused_linear_\w+: .*statement/);
    assert.match(last.detail, /^norm_\w+: \w+: .*\d/);
    assert.deepEqual(got.selfTest.untestedKernels, []);
  });

  test("pipelines compile in parallel, before the first answer", async (t) => {
    // Counts the worker's calls.
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
    // Runs before all imports, which may wrap these methods again.
    const restore = await support.prefix(tab(), "**/dist/pipelines.js", spied);
    const progress = await page.evaluate(async () => {
      const progress = [];
      const options = { device: "gpu", selfTest: true, onProgress: (p) => progress.push(p) };
      window.model = await window.foveate.load("/golden/models/llama/", options);
      return progress;
    });
    const calls = () => tab().workers()[0].evaluate(() => ({ ...globalThis.spied }));
    const loaded = await calls();
    const { compiledPipelines, totalPipelines } = progress.at(-1);
    assert.ok(
      totalPipelines > 10 && compiledPipelines === totalPipelines && loaded.ahead === totalPipelines,
      `${compiledPipelines} of ${totalPipelines}, ${JSON.stringify(loaded)}`,
    );
    assert.ok(loaded.most > 1 && loaded.flying === 0, JSON.stringify(loaded));
    const grows = ({ compiledPipelines }, i) => i === 0 || compiledPipelines >= progress[i - 1].compiledPipelines;
    assert.ok(progress.every(({ loadedBytes, totalBytes }) => totalBytes > 0 && loadedBytes <= totalBytes) && progress.every(grows));
    const ids = await page.evaluate(async (prompt) => {
      const ids = [];
      for await (const { id } of window.model.generateTokens(prompt, { maxTokens: 2 })) ids.push(id);
      return ids;
    }, prompt);
    assert.deepEqual(ids, greedy.slice(0, 2));
    const answered = await calls();
    t.diagnostic(`${JSON.stringify(loaded)}, then ${JSON.stringify(answered)}`);
    assert.equal(answered.now, loaded.now, "no pipeline is compiled while an answer waits for it");
    await page.evaluate(() => window.model.dispose());
    await restore();
  });

  test("if every kernel of an op is wrong, auto uses the CPU and gpu is an error", async () => {
    const embed = ["weight4.id - params.row0, k.", "params.scale * weight4", "2.0 * params.scale * weight4"];
    const auto = await answer([embed], { device: "auto" });
    assert.equal(auto.error, undefined);
    assert.match(auto.device, /^cpu/);
    assert.match(auto.fallbackReason, /embed is wrong here in every form: embed_\w+/);
    assert.deepEqual(auto.ids, greedy.slice(0, 2));
    const gpu = await answer([embed], { device: "gpu" });
    assert.equal(gpu.error.code, "device");
    assert.match(gpu.error.message, /embed is wrong here/);
  });
});
