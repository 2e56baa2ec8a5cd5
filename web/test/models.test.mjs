// Models in Chromium, on both executors, against tokens that third-party code computed.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

const MIB = 1 << 20;

support.inChromium("models in Chromium", support.skipBrowser || support.skipGolden, ({ page }) => {
  const answer = (...args) => page.evaluate((args) => window.answer(...args), args);

  for (const device of ["cpu", "gpu"]) {
    // Much of what SwiftShader does is compiling, and the first tokens have seen all of it.
    const most = device === "gpu" ? 6 : 16;

    // On a GPU kernels.test.mjs compares their logits and tokens, and trial.test.mjs loads one.
    for (const family of support.skipGolden || device === "gpu" ? [] : support.goldenModels()) {
      test(`${family} on ${device} gives the golden tokens`, async () => {
        const { prompt, greedy } = support.goldenTokens(family);
        const got = await answer(`/golden/models/${family}/`, { device }, prompt, { maxTokens: most });
        assert.deepEqual(got.ids, greedy.slice(0, most));
        assert.match(got.device, device === "gpu" ? /^gpu, / : /^cpu, /);
      });
    }

    test(`SmolLM2 on ${device} gives the golden tokens, within its means`, { skip: support.skipModel }, async (t) => {
      const { text, greedy } = support.smollm2Golden().prompts[0];
      const got = await answer(`/models/${support.smollm2}`, { device }, text, { maxTokens: most });
      assert.deepEqual(got.ids, greedy.slice(0, most));
      const { device: name, loadMs, firstMs, rate, wasmPeak } = got;
      t.diagnostic(`${name}: loaded in ${loadMs.toFixed()} ms, first token after ${firstMs.toFixed()} ms`);
      t.diagnostic(`${rate.toFixed(2)} tokens/s, wasm memory at most ${(wasmPeak / MIB).toFixed(1)} MiB`);
      if (device === "gpu") {
        // The tokenizer is in this, too.
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

  test("a model on a GPU uses subgroups, and none with no more than WebGPU guarantees", async () => {
    const { prompt, greedy } = support.goldenTokens("llama");
    const got = await page.evaluate(async (prompt) => {
      const run = async (options) => {
        const seen = devicesFromHere();
        const { createShaderModule } = GPUDevice.prototype;
        const codes = [];
        GPUDevice.prototype.createShaderModule = function (descriptor) {
          codes.push(descriptor.code);
          return createShaderModule.call(this, descriptor);
        };
        try {
          const model = await foveate.load("/golden/models/llama/", { device: "gpu", worker: false, ...options });
          const ids = [];
          for await (const { id } of model.generateTokens(prompt, { maxTokens: 3 })) ids.push(id);
          model.dispose();
          const features = seen.devices.map((device) => device.features.has("subgroups"));
          return { ids, features, using: codes.filter((code) => code.includes("enable subgroups;")).length };
        } finally {
          GPUDevice.prototype.createShaderModule = createShaderModule;
          seen.end();
        }
      };
      return { full: await run({}), baseline: await run({ baseline: true }), again: await run({}) };
    }, prompt);
    for (const { ids } of Object.values(got)) assert.deepEqual(ids, greedy.slice(0, 3));
    for (const { features, using } of [got.full, got.again]) {
      assert.ok(features.length > 0 && features.every(Boolean), JSON.stringify(features));
      assert.ok(using > 0, "no shader uses subgroups");
    }
    assert.ok(got.baseline.features.length > 0 && !got.baseline.features.some(Boolean));
    assert.equal(got.baseline.using, 0);
  });

  for (const device of ["cpu", "gpu"]) {
    test(`logits that are not finite end an answer on ${device} with an error`, async () => {
      const got = await page.evaluate(async (device) => {
        const model = await foveate.load("/golden/reports/nan/hf/", { device });
        const errors = [];
        for (const options of [{}, { temperature: 1 }, { logprobs: 2 }]) {
          errors.push(
            await thrown(async () => {
              for await (const _ of model.generateTokens("hello", { maxTokens: 4, ...options }));
            }),
          );
        }
        errors.push(await thrown(() => model.score("hello")));
        model.dispose();
        return errors;
      }, device);
      for (const error of got) {
        assert.equal(error?.code, "not-finite", JSON.stringify(got));
        assert.match(error.message, /^the logits at position \d+ are not finite/);
      }
    });
  }

  test("auto takes the processor where the GPU is a software driver", async () => {
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

  test("with no more than WebGPU guarantees, the answer is the same", async () => {
    const { prompt, greedy } = support.goldenTokens("qwen3");
    const got = await answer("/golden/models/qwen3/", { device: "gpu", baseline: true }, prompt, { maxTokens: 3 });
    assert.deepEqual(got.ids, greedy.slice(0, 3));
  });
});
