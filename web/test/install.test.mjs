// The packed and installed package in Node.js, in Deno, and in a page bundled by Vite.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { serve } from "../serve.mjs";
import * as support from "./support.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));
const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

describe("the packed package", { skip: support.skipGolden }, () => {
  let root;

  before(() => {
    root = mkdtempSync(join(tmpdir(), "foveate-"));
    const [{ filename, files }] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", root], web));
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes("pkg/foveate_bg.wasm") && paths.includes("dist/worker.js"), paths.join());
    assert.ok(!paths.some((path) => /^(src|test|playground)\//.test(path)), paths.join());
    for (const name of ["plain", "bundled"]) {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, "package.json"), '{ "private": true, "type": "module" }\n');
      npm(["install", "--offline", "--no-audit", "--no-fund", join(root, filename)], join(root, name));
    }
  });

  after(() => root && rmSync(root, { recursive: true, force: true }));

  const deno = join(web, "node_modules/deno/bin.cjs");
  for (const [runtime, command, skip] of [
    ["Node.js", ["index.js"], false],
    // Reading files is the only permission it needs.
    ["Deno", [deno, "run", "--allow-read", "--no-prompt", "index.js"], support.unless(deno, "Deno")],
  ]) {
    test(`runs in ${runtime}`, { skip }, () => {
      const { prompt, greedy } = support.goldenTokens("llama");
      const files = ["config.json", "model.safetensors"].map((name) => support.goldenPath(`models/llama/${name}`));
      writeFileSync(
        join(root, "plain", "index.js"),
        `import { readFileSync } from "node:fs";
        import { basename } from "node:path";
        import { device, load } from "foveate";
        const files = ${JSON.stringify(files)}.map((path) => new File([readFileSync(path)], basename(path)));
        const answer = async (device) => {
          const model = await load(files, { device });
          const ids = [];
          for await (const { id } of model.generateTokens(${JSON.stringify(prompt)}, { maxTokens: 4 })) ids.push(id);
          model.dispose();
          return ids;
        };
        const [ids, onGpu] = [await answer("auto"), await answer("gpu").catch(({ code }) => code)];
        const cpu = await device("cpu");
        const x = { data: new Float32Array([3, 4]), shape: [1, 1, 2] };
        const { out } = await cpu.norm({ eps: 0 }, x, { data: new Float32Array([1, 1]), shape: [2] });
        cpu.dispose();
        console.log(JSON.stringify({ ids, onGpu, out: [...out.data], workers: typeof Worker }));`,
      );
      const said = execFileSync(process.execPath, command, { cwd: join(root, "plain"), encoding: "utf8" });
      const { ids, onGpu, out, workers } = JSON.parse(said);
      assert.deepEqual(ids, greedy.slice(0, 4));
      assert.ok(Math.abs(out[0] - 3 / Math.sqrt(12.5)) < 1e-6, said);
      assert.equal(workers, runtime === "Deno" ? "function" : "undefined");
      // Deno has WebGPU, but this machine may have no adapter.
      if (runtime === "Deno" && onGpu !== "device") assert.deepEqual(onGpu, ids);
      else assert.ok(onGpu === "device" && !(runtime === "Deno" && process.env.REQUIRE_GPU === "1"), said);
    });
  }

  test("has types that strict TypeScript accepts", () => {
    writeFileSync(
      join(root, "plain", "index.ts"),
      `import { device, FoveateError, type FoveateErrorCode, load, type Token } from "foveate";
      const model = await load(new URL("https://example.com/model.gguf"), { onProgress: ({ loadedBytes, totalBytes }) => loadedBytes / totalBytes });
      const tokens: Token[] = [];
      for await (const token of model.generateTokens("a text", { logprobs: 2 })) tokens.push(token);
      const logprob: number | undefined = tokens[0]?.score?.topLogprobs[0]?.logprob;
      const session = await model.session({ kv: "f16" });
      await session.augment(async ({ width, latents }) => new Float32Array(width * latents));
      const gpu = await device("gpu");
      const { out } = await gpu.attention({ causal: true }, new Float32Array(1), new Float32Array(1), new Float32Array(1));
      const own = await device({ device: await (await navigator.gpu.requestAdapter())!.requestDevice() });
      const buffer: GPUBuffer | undefined = (await own.norm({}, out!)).out?.data;
      // @ts-expect-error There is no such op.
      gpu.convolution({});
      await gpu.delta({ HV: 4, gate: "channel", pool: null }, { q: new Float32Array(1) });
      // @ts-expect-error There is no such setting.
      gpu.attention({ widow: 4 });
      // @ts-expect-error There is no such gate.
      gpu.delta({ gate: "heads" });
      // @ts-expect-error There is no such input.
      gpu.attention({}, { query: new Float32Array(1) });
      // @ts-expect-error There is no such device.
      load("model.gguf", { device: "tpu" });
      export const code = (error: unknown): FoveateErrorCode | undefined => (error instanceof FoveateError ? error.code : undefined);
      export { buffer, logprob };`,
    );
    const tsc = join(web, "node_modules/typescript/bin/tsc");
    const options = ["--strict", "--exactOptionalPropertyTypes", "--module", "nodenext", "--target", "es2022", "--types", ""];
    const said = spawnSync(process.execPath, [tsc, "--noEmit", ...options, "index.ts"], { cwd: join(root, "plain"), encoding: "utf8" });
    assert.equal(said.status, 0, said.stdout);
  });

  describe("bundled by Vite without configuration", { skip: support.skipBrowser }, () => {
    let browser, folder, vite;

    before(async () => {
      folder = join(root, "bundled");
      writeFileSync(
        join(folder, "main.js"),
        `import { load } from "foveate";
        window.answer = async (source, prompt, options) => {
          try {
            const model = await load(source, { device: "cpu", ...options });
            const ids = [];
            for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
            model.dispose();
            return { ids, device: model.device };
          } catch ({ name, code, message }) {
            return { name, code, message };
          }
        };`,
      );
      writeFileSync(join(folder, "index.html"), '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>');
      vite = await import(pathToFileURL(join(web, "node_modules/vite/dist/node/index.js")));
      await vite.build({ root: folder, configFile: false, logLevel: "error" });
      browser = await support.launch();
    });

    after(() => browser?.close());

    /** Returns the tokens of a page, or its error, for load options. */
    const answer = async (url, options) => {
      const { prompt } = support.goldenTokens("llama");
      const page = await browser.newPage();
      await page.goto(url);
      await page.waitForFunction(() => window.answer);
      const got = await page.evaluate((args) => window.answer("/model/", ...args), [prompt, options]);
      await page.close();
      return got;
    };

    const model = support.goldenPath("models/llama");

    test("the bundle has each worker and each wasm once", () => {
      const assets = readdirSync(join(folder, "dist", "assets"));
      const names = assets.map((name) => name.replace(/-[\w-]{8}\./, ".")).sort();
      // One thread, threads, answers' parts, and parts with constraints.
      const wasm = new Array(4).fill("foveate_bg.wasm");
      assert.deepEqual(names, [...wasm, "index.js", "thread.js", "threaded.js", "worker.js"]);
      for (const name of assets.filter((name) => name.endsWith(".js"))) {
        const script = readFileSync(join(folder, "dist", "assets", name), "utf8");
        assert.doesNotMatch(script, /data:[\w/+.-]+;base64,/, name);
        // No import of a file outside of the bundle is left.
        assert.doesNotMatch(script, /(from|import) ?["'`]\./, name);
      }
    });

    test("generates on one thread and on two", async () => {
      const { greedy } = support.goldenTokens("llama");
      const mounts = { "/": join(folder, "dist"), "/model/": model };
      const server = await serve({ mounts, on: () => ({ isolated: true }) });
      try {
        for (const threads of [1, 2]) {
          const { ids, device } = await answer(`${server.url}/index.html`, { threads });
          assert.deepEqual(ids, greedy.slice(0, 4));
          assert.match(device, new RegExp(`^cpu, ${threads} thread`));
        }
      } finally {
        await server.close();
      }
    });

    test("generates on one thread and on two from Vite's development server", async () => {
      const { greedy } = support.goldenTokens("llama");
      const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
      const publicDir = join(root, "public");
      cpSync(model, join(publicDir, "model"), { recursive: true });
      const server = await vite.createServer({ root: folder, publicDir, configFile: false, logLevel: "error", server: { port: 0, headers } });
      try {
        await server.listen();
        for (const threads of [1, 2]) {
          const { ids, device } = await answer(server.resolvedUrls.local[0], { threads });
          assert.deepEqual(ids, greedy.slice(0, 4));
          assert.match(device, new RegExp(`^cpu, ${threads} thread`));
        }
      } finally {
        await server.close();
      }
    });

    test("a page of another origin gets an error that says to pass worker: false, which works", async () => {
      const { greedy } = support.goldenTokens("llama");
      const mounts = { "/": join(folder, "dist") };
      const bundle = await serve({ mounts, on: () => ({ shared: true }) });
      const page = join(root, "page");
      mkdirSync(page);
      const script = readdirSync(join(folder, "dist", "assets")).find((name) => name.startsWith("index-"));
      writeFileSync(join(page, "index.html"), `<!doctype html><script type="module" src="${bundle.url}/assets/${script}"></script>`);
      const server = await serve({ mounts: { "/": page, "/model/": model }, on: () => ({ isolated: true }) });
      try {
        for (const threads of [1, 2]) {
          const error = await answer(`${server.url}/index.html`, { threads });
          assert.deepEqual([error.name, error.code], ["FoveateError", "read"]);
          assert.match(error.message, /^the worker's script cannot be loaded: .*`worker: false`/);
        }
        assert.deepEqual((await answer(`${server.url}/index.html`, { worker: false })).ids, greedy.slice(0, 4));
      } finally {
        await Promise.all([bundle.close(), server.close()]);
      }
    });
  });
});
