// Models in Chromium, on both executors, against tokens computed by third-party code.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

const MIB = 1 << 20;

support.inChromium("models in Chromium", support.skipBrowser || support.skipGolden, ({ page }) => {
  const answer = (...args) => page.evaluate((args) => window.answer(...args), args);

  for (const device of ["cpu", "gpu"]) {
    // SwiftShader spends most of its time compiling, and the first tokens use all kernels.
    const most = device === "gpu" ? 6 : 16;

    // For GPUs, kernels.test.mjs compares logits and tokens, and trial.test.mjs loads a model.
    for (const family of support.skipGolden || device === "gpu" ? [] : support.goldenModels()) {
      test(`${family} on ${device} gives the golden tokens`, async () => {
        const { prompt, greedy } = support.goldenTokens(family);
        const got = await answer(`/golden/models/${family}/`, { device }, prompt, { maxTokens: most });
        assert.deepEqual(got.ids, greedy.slice(0, most));
        assert.match(got.device, device === "gpu" ? /^gpu, / : /^cpu, /);
      });
    }

    test(`SmolLM2 on ${device} gives the golden tokens within its limits of memory and transfers`, { skip: support.skipModel }, async (t) => {
      const { text, greedy } = support.smollm2Golden().prompts[0];
      const got = await answer(`/models/${support.smollm2}`, { device }, text, { maxTokens: most });
      assert.deepEqual(got.ids, greedy.slice(0, most));
      const { device: name, loadMs, firstMs, rate, wasmPeak } = got;
      t.diagnostic(`${name}: loaded in ${loadMs.toFixed()} ms, first token after ${firstMs.toFixed()} ms`);
      t.diagnostic(`${rate.toFixed(2)} tokens/s, wasm memory at most ${(wasmPeak / MIB).toFixed(1)} MiB`);
      if (device === "gpu") {
        // This includes the tokenizer.
        assert.ok(wasmPeak < 64 * MIB, `wasm memory of ${wasmPeak} bytes`);
      }
      for (let i = 2; i < got.stats.length; i++) {
        const [was, is] = [got.stats[i - 1], got.stats[i]];
        const step = (name) => is[name] - was[name];
        const took = ["submissions", "downloads", "downloadedBytes", "buffers"].map(step);
        assert.deepEqual(took, [1, 1, 4, 0], `token ${i}`);
      }
    });
  }

  test("auto uses the CPU if the GPU is a software driver", async () => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const got = await answer("/golden/models/llama/", { device: "auto" }, prompt, { maxTokens: 2 });
    assert.match(got.device, /^cpu, /);
    assert.deepEqual(got.ids, greedy.slice(0, 2));
  });

  test("without a worker, the answer is the same", async () => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const got = await answer("/golden/models/llama/", { device: "gpu", worker: false }, prompt, { maxTokens: 2 });
    assert.deepEqual(got.ids, greedy.slice(0, 2));
  });

  test("with WebGPU's default limits, the answer is the same", async () => {
    const { prompt, greedy } = support.goldenTokens("qwen3");
    const got = await answer("/golden/models/qwen3/", { device: "gpu", baseline: true }, prompt, { maxTokens: 3 });
    assert.deepEqual(got.ids, greedy.slice(0, 3));
  });
});
