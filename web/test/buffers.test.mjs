// Ops on the page's own GPUDevice and buffers.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

// Small sizes of every op. Among them: scratch buffers, several passes, block formats, ids, arguments that are in-out.
const OPS = {
  activation: { T: 5, dim: 24 },
  add: { T: 5, dim: 33 },
  append: { T: 5, pool: 12, k_width: 8, v_width: 4 },
  attention: { T: 33, S: 70, H: 4, G: 2, D: 16, lse: true },
  attention_backward: { T: 9, S: 17, H: 2, D: 8 },
  centroids: { T: 40, H: 2, D: 8, C: 4 },
  clamped_swiglu: { T: 5, dim: 24 },
  conv: { T: 9, channels: 24, packed: null, initial: true, last: true },
  conv_backward: { T: 9, channels: 24 },
  delta: { T: 37, H: 2, K: 16, V: 16, packed: null, initial: true, last: true },
  delta_backward: { T: 37, H: 2, K: 16, V: 16 },
  delta_gates: { T: 9, HV: 3 },
  embed: { T: 7, vocab: 33, dim: 64, format: "q8_0" },
  expert_choice: { T: 5, experts: 12, chosen: 3 },
  expert_linear: { T: 5, experts: 6, chosen: 2, K: 64, N: 48, format: "q8_0" },
  expert_sum: { T: 5, chosen: 3, dim: 40 },
  fused_linear: { T: 1, K: 64, N: 48, format: "q4_1" },
  gate: { T: 5, H: 3, D: 8 },
  linear: { T: 19, K: 64, N: 80, format: "q4_1", bias: true },
  merge: { N: 3, rows: 5, V: 8 },
  norm: { T: 5, dim: 96, residual: true },
  rope: { T: 4, H: 3, D: 16 },
  rope_append: { T: 5, H: 3, D: 16, pool: 12 },
  route: { T: 32, H: 2, D: 8, C: 4, W: 9 },
  route_step: { H: 2, D: 8, C: 4, W: 9 },
  sample: { vocab: 777, temperature: 0.7, top_k: 20 },
  scan_gates: { T: 9, HV: 3 },
  selected_attention: { T: 32, H: 2, D: 8, C: 4, E: 36 },
  selected_attention_backward: { T: 32, H: 2, D: 8, C: 4, E: 36 },
};

support.inChromium("ops on the page's own device", support.skipBrowser, ({ page }) => {
  test("match the CPU, from typed arrays and from buffers", async () => {
    const got = await page.evaluate(async (OPS) => {
      const requiredFeatures = ["subgroups"];
      const adapter = await navigator.gpu.requestAdapter();
      const own = await adapter.requestDevice({ requiredFeatures: requiredFeatures.filter((f) => adapter.features.has(f)) });
      const complaints = [];
      own.onuncapturederror = ({ error }) => complaints.push(error.message);
      const [gpu, cpu] = [await foveate.device({ device: own }), await foveate.device("cpu")];
      const results = {};
      const registered = [...gpu.ops];
      for (const [op, settings] of Object.entries(OPS)) {
        const inputs = await cpu.inputs(op, settings);
        const want = await cpu[op](settings, inputs);
        const numbers = await gpu[op](settings, inputs);
        // The same from buffers of the page, each at an offset.
        const buffers = {};
        for (const [name, { data, shape }] of Object.entries(inputs)) {
          const offset = 256;
          const buffer = own.createBuffer({ size: offset + Math.ceil(data.byteLength / 16) * 16, usage: 0x8c });
          const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
          bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
          own.queue.writeBuffer(buffer, offset, bytes);
          buffers[name] = { data: buffer, shape, offset };
        }
        const second = await gpu[op](settings, buffers);
        let worst = 0;
        for (const [name, { data, shape }] of Object.entries(want)) {
          for (const outputs of [numbers, second]) {
            const got = await gpu.download(outputs[name]);
            if (!(outputs[name].data instanceof GPUBuffer) || `${got.shape}` !== `${shape}`) worst = Infinity;
            const [sum, all] = data.reduce(([e, s], x, i) => [e + (x - got.data[i]) ** 2, s + x * x], [0, 0]);
            // A NaN counts as equal to a NaN only.
            worst = Math.max(worst, data.every((x, i) => Object.is(x, got.data[i])) ? 0 : Math.sqrt(sum / all));
          }
        }
        results[op] = worst;
      }
      gpu.dispose();
      cpu.dispose();
      // dispose() leaves the page's device alone.
      own.createBuffer({ size: 16, usage: 8 });
      return { results, registered, complaints };
    }, OPS);
    assert.deepEqual(got.complaints, []);
    for (const [op, error] of Object.entries(got.results)) assert.ok(error <= 5e-5, `${op}: ${error}`);
    assert.deepEqual(Object.keys(got.results), got.registered.sort());
  });

  test("outputs go to the caller's buffers, and one op reads the output of another", async () => {
    const got = await page.evaluate(async () => {
      const own = await (await navigator.gpu.requestAdapter()).requestDevice();
      const gpu = await foveate.device({ device: own, worker: false });
      const tensor = (shape, data) => ({ shape, data: Float32Array.from(data) });
      const buffer = own.createBuffer({ size: 1024, usage: 0x8c });
      const out = { data: buffer, shape: [1, 1, 2], offset: 512 };
      const ones = tensor([2], [1, 1]);
      const first = await gpu.norm({ eps: 0 }, { x: tensor([1, 1, 2], [3, 4]), weight: ones, out });
      const second = await gpu.norm({ eps: 0 }, first.out, tensor([2], [2, 3]));
      const [a, b] = [await gpu.download(first.out), await gpu.download({ ...second.out })];
      const refused = [];
      const refuse = async (work) => refused.push(await window.thrown(work));
      await refuse(() => gpu.norm({}, { x: { data: buffer, shape: [1, 1, 2], offset: 1022 }, weight: ones }));
      await refuse(() => gpu.norm({}, { x: { data: buffer, shape: [1, 1, 2] }, weight: ones, out: { ...out, offset: 0 } }));
      await refuse(() => gpu.norm({}, { x: first.out, weight: ones, w: ones }));
      await refuse(() => gpu.norm({}, ones));
      await refuse(() => gpu.norm({ signal: AbortSignal.abort() }, first.out, ones));
      const unusable = own.createBuffer({ size: 16, usage: 8 });
      await refuse(() => gpu.norm({}, { data: unusable, shape: [1, 1, 2] }, ones));
      const again = await gpu.download((await gpu.norm({ eps: 0 }, first.out, ones)).out);
      gpu.dispose();
      await refuse(() => gpu.norm({}, first.out, ones));
      return { same: first.out.data === buffer, a: [...a.data], b: [...b.data], again: [...again.data], refused };
    });
    const near = (got, want) => got.forEach((x, i) => assert.ok(Math.abs(x - want[i]) < 1e-6, `${got}`));
    assert.ok(got.same);
    near(got.a, [3, 4].map((x) => x / Math.sqrt(12.5)));
    near(got.b, [2 * got.a[0], 3 * got.a[1]]);
    near(got.again, got.a);
    const codes = got.refused.map((error) => error?.ours && error.code);
    assert.deepEqual(codes, ["config", "device", "config", "config", "cancelled", "device", "closed"]);
  });
});
