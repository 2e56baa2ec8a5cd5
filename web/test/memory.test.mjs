// Memory after loading and freeing twenty models, and models that the memory cannot hold.

import assert from "node:assert/strict";
import { openAsBlob, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "../dist/index.js";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

test("the CPU refuses weights of more than 3 GiB with the first piece, and says what to do", async () => {
  const folder = smallFolder(["attention"]);
  try {
    const path = (name) => join(folder, name);
    const [layers, inner] = [210, 22_000];
    const config = JSON.parse(readFileSync(path("config.json"), "utf8"));
    const types = Array.from({ length: layers }, () => config.layer_types[0]);
    writeFileSync(path("config.json"), JSON.stringify({ ...config, num_hidden_layers: layers, layer_types: types, intermediate_size: inner }));
    // The first layer many times, with larger matrices, in a sparse file.
    const file = readFileSync(path("model.safetensors"));
    const one = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString());
    const header = {};
    let end = 0;
    const add = (name, shape) => {
      const bytes = 4 * shape.reduce((a, b) => a * b);
      header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes] };
      end += bytes;
    };
    const wider = (shape) => shape.map((n) => (n === config.intermediate_size ? inner : n));
    for (const [name, { shape }] of Object.entries(one)) {
      for (let layer = 0; layer < (name.includes(".layers.") ? layers : 1); layer++) add(name.replace(".layers.0.", `.layers.${layer}.`), wider(shape));
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(path("model.safetensors"), Buffer.concat([length, text]));
    truncateSync(path("model.safetensors"), 8 + text.length + end);
    const files = await Promise.all(["config.json", "model.safetensors"].map(async (name) => new File([await openAsBlob(path(name))], name)));
    let loaded = 0;
    const loading = load(files, { device: "cpu", onProgress: ({ loadedBytes }) => (loaded = loadedBytes) });
    await assert.rejects(loading, ({ code, message }) => {
      assert.equal(code, "out-of-memory", message);
      assert.match(message, /^the model has 3\.6 GB of weights, and the CPU in WebAssembly holds at most 3\.2 GB: take a smaller model/);
      return true;
    });
    assert.ok(loaded < 2 ** 26, `${loaded} bytes`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

support.inChromium("memory of Chromium", support.skipBrowser || support.skipGolden, ({ page, resident }) => {
  test("dispose destroys the device and all buffers of a model", async () => {
    const got = await page.evaluate(async () => {
      const live = new Map();
      let most = 0;
      const { createBuffer, destroy } = GPUDevice.prototype;
      GPUDevice.prototype.createBuffer = function (descriptor) {
        live.set(this, (live.get(this) ?? 0) + descriptor.size);
        most = Math.max(most, [...live.values()].reduce((a, b) => a + b, 0));
        return createBuffer.call(this, descriptor);
      };
      GPUDevice.prototype.destroy = function () {
        live.delete(this);
        return destroy.call(this);
      };
      try {
        for (let n = 0; n < 20; n++) {
          const model = await foveate.load("/golden/models/llama/", { device: "gpu", worker: false });
          model.dispose();
        }
        const gpu = await foveate.device("gpu", { worker: false });
        gpu.dispose();
        return { left: live.size, most };
      } finally {
        Object.assign(GPUDevice.prototype, { createBuffer, destroy });
      }
    });
    assert.equal(got.left, 0);
    assert.ok(got.most > 1e5 && got.most < 10e6, `${got.most} bytes at once`);
  });

  // A model on the CPU is in the memory of a worker, which belongs to the renderer process.
  for (const [device, type] of [["gpu", "GPU"], ["cpu", "renderer"]]) {
    test(`the ${type} process grows by less than a model`, { skip: support.skipModel }, async (t) => {
      const cycles = (count) =>
        page.evaluate(
          async ({ source, device, count }) => {
            let bytes;
            for (let n = 0; n < count; n++) {
              const model = await foveate.load(source, { device });
              ({ bytes } = await model.stats());
              model.dispose();
            }
            return bytes;
          },
          { source: `/models/${support.smollm2}`, device, count },
        );
      const bytes = await cycles(3);
      const before = await resident(type);
      await cycles(17);
      // The memory of a worker is freed some time after it ends.
      let after;
      for (let tries = 0; tries < 40 && !(after - before < bytes); tries++) {
        await new Promise((done) => setTimeout(done, 500));
        after = await resident(type);
      }
      t.diagnostic(`a model of ${bytes} bytes; the process has ${before} bytes after 3, ${after} after 20`);
      assert.ok(bytes > 90e6);
      assert.ok(after - before < bytes, `${after - before} bytes more`);
    });
  }
});
