// Single ops through the JavaScript API, and all golden cases.

import assert from "node:assert/strict";
import { test } from "node:test";
import { device } from "../dist/index.js";
import * as support from "./support.mjs";

const failures = (findings) => findings.filter(({ passed }) => !passed);

for (const kind of ["cpu", "reference"]) {
  test(`golden ops on ${kind} in Node.js`, { skip: support.skipGolden }, async () => {
    const executor = await device(kind);
    let checked = 0;
    for (const name of support.goldenOps()) {
      const found = await executor.check(new Blob([support.goldenFile(`ops/${name}`)]));
      assert.deepEqual(failures(found), [], name);
      checked += found.length;
    }
    assert.ok(checked > 40, `${checked} expectations`);
    executor.dispose();
  });
}

/** Returns a tensor of pseudo-random numbers. */
const numbers = (shape, seed) => {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  return { shape, data: data.map((_, i) => Math.sin(seed + i * 1.618)) };
};

test("an op takes its sizes from the shapes of its tensors", async () => {
  const [q, k, v] = [numbers([1, 5, 4, 8], 1), numbers([1, 9, 2, 8], 2), numbers([1, 9, 2, 4], 3)];
  const [fast, exact] = [await device("cpu"), await device("reference")];
  const settings = { causal: true, window: 6, lse: true };
  const got = await fast.attention(settings, q, k, v);
  const want = await exact.attention(settings, { v, q, k });
  assert.deepEqual(got.out.shape, [1, 5, 4, 4]);
  assert.deepEqual(Object.keys(got), ["out", "lse"]);
  for (const name of ["out", "lse"]) {
    want[name].data.forEach((x, i) => assert.ok(Math.abs(x - got[name].data[i]) < 1e-5, `${name}[${i}]`));
  }
  // The first row by hand: the first query attends to five keys.
  const row = Array.from({ length: 8 }, (_, i) => q.data[i]);
  const dots = [0, 1, 2, 3, 4].map((j) => row.reduce((sum, x, i) => sum + x * k.data[j * 16 + i], 0) / Math.sqrt(8));
  const exps = dots.map(Math.exp);
  const out = exps.reduce((sum, e, j) => sum + e * v.data[j * 8], 0) / exps.reduce((a, b) => a + b);
  assert.ok(Math.abs(out - want.out.data[0]) < 1e-6, `${out} and ${want.out.data[0]}`);
  fast.dispose();
  exact.dispose();
});

test("every op of the registry is a method and draws its own inputs", async () => {
  const executor = await device("cpu");
  assert.ok(executor.ops.includes("attention") && executor.ops.length > 10);
  let drawn = 0;
  for (const op of executor.ops) {
    assert.equal(typeof executor[op], "function");
    const args = await executor.arguments(op);
    assert.ok(args.some(({ access }) => access !== "read"), op);
    // Large inputs take long to draw and show nothing more.
    if (args.reduce((sum, { bytes }) => sum + bytes, 0) > 1 << 22) continue;
    drawn += Object.keys(await executor.inputs(op, {}, 7)).length;
  }
  assert.ok(drawn > 5, `${drawn} inputs`);
  const { out } = await executor.merge({ N: 2, rows: 3, V: 4 }, await executor.inputs("merge", { N: 2, rows: 3, V: 4 }));
  assert.ok(out.data.every(Number.isFinite));
  executor.dispose();
});

test("invalid calls of ops are refused, naming the argument or setting", async () => {
  const executor = await device("cpu");
  const [q, k] = [numbers([1, 4, 2, 8], 1), numbers([1, 4, 2, 8], 2)];
  const refused = (work, code, words) => assert.rejects(work, (error) => error.code === code && words.test(error.message));
  await refused(executor.attention({}, q, k), "config", /reads 3 tensors, q, k, v; got 2/);
  await refused(executor.attention({ tokens: 3 }, q, k, k), "config", /no setting tokens/);
  await refused(executor.attention({ "a=b,": 1 }, q, k, k), "config", /cannot be/);
  await refused(executor.attention({}, { q, k, w: k }), "config", /v is missing|no argument w/);
  await refused(executor.attention({}, q, k, { shape: [1, 5, 2, 8], data: k.data }), "config", /shape/);
  await refused(executor.attention({}, q, k, { shape: [1, 4, 2, 8], data: k.data.subarray(1) }), "config", /bytes/);
  await refused(executor.attention({}, q, k, { shape: [1, 4, 2, 8], data: new Int32Array(64) }), "config", /Float32Array/);
  await refused(executor.attention({}, q, k, numbers([1, 4, 3, 8], 1)), "config", /./);
  await refused(executor.linear({ T: 4294967295, K: 4294967295 }, q, k), "config", /elements/);
  await refused(executor.run("convolution", {}), "config", /there is no op convolution/);
  await refused(executor.check(new Blob(["no case"])), "format", /damaged/);
  assert.deepEqual(failures(await executor.selfTest((name) => name.startsWith("merge/"))), []);
  const aborted = AbortSignal.abort();
  await refused(executor.attention({ signal: aborted }, q, k, k), "cancelled", /cancelled/);
  await refused(executor.check(new Blob([]), { signal: aborted }), "cancelled", /cancelled/);
  await refused(executor.selfTest(undefined, { signal: aborted }), "cancelled", /cancelled/);
  executor.dispose();
  await refused(executor.arguments("norm"), "closed", /disposed of/);
});

support.inChromium("golden cases in Chromium", support.skipBrowser || support.skipGolden, ({ page }) => {
  const check = (kind, sources) =>
    page.evaluate(
      async ({ kind, sources }) => {
        const executor = await window.foveate.device(kind);
        const all = [];
        for (const source of sources) {
          for (const found of await executor.check(source)) all.push({ source, ...found });
        }
        const { name } = executor;
        executor.dispose();
        return { name, all };
      },
      { kind, sources },
    );

  test("the browser compiles every shader of the cases", async (t) => {
    const { count, wrong, has } = await page.evaluate(async () => {
      const { default: init, caseShaders } = await import("/pkg/foveate.js");
      await init({ module_or_path: new URL("/pkg/foveate_bg.wasm", location.href) });
      const adapter = await navigator.gpu.requestAdapter();
      const has = ["shader-f16", "subgroups"].map((feature) => adapter.features.has(feature));
      const requiredFeatures = ["shader-f16", "subgroups"].filter((_, i) => has[i]);
      const gpu = await adapter.requestDevice({ requiredFeatures });
      const all = new Set([caseShaders(false, false, false), caseShaders(true, ...has)].flat());
      const wrong = [];
      for (const code of all) {
        gpu.pushErrorScope("validation");
        const { messages } = await gpu.createShaderModule({ code }).getCompilationInfo();
        await gpu.popErrorScope();
        wrong.push(...messages.filter(({ type }) => type === "error").map(({ message }) => message));
      }
      gpu.destroy();
      return { count: all.size, wrong, has };
    });
    t.diagnostic(`${count} shaders, f16 and subgroups: ${has.join()}`);
    assert.ok(count > 100, `${count} shaders`);
    assert.deepEqual(wrong, []);
  });

  for (const kind of ["cpu", "gpu"]) {
    test(`golden ops on ${kind}`, async (t) => {
      const { name, all } = await check(kind, support.goldenOps().map((name) => `/golden/ops/${name}`));
      t.diagnostic(`${all.length} expectations on ${name}`);
      assert.ok(all.length > 40);
      assert.deepEqual(failures(all), []);
    });

    test(`golden models on ${kind}`, async (t) => {
      const { name, all } = await check(kind, support.goldenModels().map((name) => `/golden/models/${name}/`));
      t.diagnostic(`${all.length} expectations on ${name}`);
      assert.ok(all.length >= 2 * support.goldenModels().length);
      assert.deepEqual(failures(all), []);
    });
  }
});
