// Memory after loading and freeing twenty models.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

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
