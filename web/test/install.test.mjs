// The packed and installed package in Node.js, in Deno, in Bun, and in a page bundled by Vite.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { serve } from "../serve.mjs";
import { bun, HTML, MAIN, packed, web } from "./packed.mjs";
import * as support from "./support.mjs";

describe("the packed package", { skip: support.skipGolden }, () => {
  let root, paths, size;

  before(() => {
    ({ root, paths, size } = packed("plain", "bundled"));
  });

  after(() => root && rmSync(root, { recursive: true, force: true }));

  test("has the built files, the licences and the types, and nothing else", (t) => {
    for (const path of ["pkg/foveate_bg.wasm", "dist/worker.js", "cjs/dist/index.d.ts", "LICENSE-MIT", "LICENSE-APACHE", "README.md"]) {
      assert.ok(paths.includes(path), path);
    }
    assert.deepEqual(paths.filter((path) => !/^(dist|pkg|cjs)\/|^(LICENSE-\w+|README\.md|package\.json)$/.test(path)), []);
    t.diagnostic(`${size} bytes`);
    assert.ok(size < 3_000_000, `${size} bytes`);
    const { homepage, keywords, license, repository } = JSON.parse(readFileSync(join(web, "package.json"), "utf8"));
    assert.ok(homepage && keywords.length > 5 && license && repository.url);
  });

  const deno = join(web, "node_modules/deno/bin.cjs");
  for (const [runtime, command, skip] of [
    ["Node.js", [process.execPath, "index.js"], false],
    // Reading files is the only permission it needs.
    ["Deno", [process.execPath, deno, "run", "--allow-read", "--no-prompt", "index.js"], support.unless(deno, "Deno")],
    ["Bun", [bun, "index.js"], support.unless(bun, "Bun")],
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
      const [program, ...args] = command;
      const said = execFileSync(program, args, { cwd: join(root, "plain"), encoding: "utf8" });
      const { ids, onGpu, out, workers } = JSON.parse(said);
      assert.deepEqual(ids, greedy.slice(0, 4));
      assert.ok(Math.abs(out[0] - 3 / Math.sqrt(12.5)) < 1e-6, said);
      assert.equal(workers, runtime === "Node.js" ? "undefined" : "function");
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
    compiled("index.ts", "nodenext", "--exactOptionalPropertyTypes", "--types", "");
  });

  /** Checks a file of the project `plain` with strict TypeScript. */
  const compiled = (file, module, ...more) => {
    const tsc = join(web, "node_modules/typescript/bin/tsc");
    const options = ["--noEmit", "--strict", "--module", module, "--target", "es2022", ...more, file];
    const said = spawnSync(process.execPath, [tsc, ...options], { cwd: join(root, "plain"), encoding: "utf8" });
    assert.equal(said.status, 0, said.stdout);
  };

  const PROGRAM = `const model = await load(new Uint8Array(4), { device: "cpu", onProgress: ({ loadedBytes }) => loadedBytes });
      for await (const piece of model.generate("a text", { signal: AbortSignal.timeout(1000) })) piece.length;
      const fetched: Promise<unknown> = cache.add("owner/name", { fetch: (url, init) => fetch(url, init) });
      return [error instanceof FoveateError ? error.reason : undefined, fetched];`;

  test("has types for Node.js projects without the library dom", () => {
    symlinkSync(join(web, "node_modules/@types"), join(root, "plain", "node_modules/@types"));
    symlinkSync(join(web, "node_modules/undici-types"), join(root, "plain", "node_modules/undici-types"));
    writeFileSync(
      join(root, "plain", "node.ts"),
      `import { cache, FoveateError, load } from "foveate";
      export async function run(error: unknown) { ${PROGRAM} }`,
    );
    compiled("node.ts", "nodenext", "--lib", "es2022", "--types", "node");
  });

  test("has types for CommonJS, and runs there", () => {
    const program = `import { cache, FoveateError, load } from "foveate";
      export async function run(error: unknown) { ${PROGRAM} }`;
    writeFileSync(join(root, "plain", "common.cts"), program);
    compiled("common.cts", "node16", "--lib", "es2022", "--types", "node");
    writeFileSync(
      join(root, "plain", "common.cjs"),
      `const { load, FoveateError } = require("foveate");
      load(5).catch((error) => console.log(error instanceof FoveateError, error.code));`,
    );
    // `require` of modules is without a warning from Node.js 22.13 on.
    const said = execFileSync(process.execPath, ["--no-warnings", "common.cjs"], { cwd: join(root, "plain"), encoding: "utf8" });
    assert.equal(said, "true config\n");
  });

  describe("bundled by Vite without configuration", { skip: support.skipBrowser }, () => {
    let browser, folder, vite;

    before(async () => {
      folder = join(root, "bundled");
      writeFileSync(join(folder, "main.js"), MAIN());
      writeFileSync(join(folder, "index.html"), HTML("/main.js"));
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
      // The models, parts of answers, and constraints.
      const wasm = new Array(3).fill("foveate_bg.wasm");
      assert.deepEqual(names, ["engine.js", ...wasm, "index.js", "thread.js", "threaded.js", "worker.js"]);
      for (const name of assets.filter((name) => name.endsWith(".js"))) {
        const script = readFileSync(join(folder, "dist", "assets", name), "utf8");
        assert.doesNotMatch(script, /data:[\w/+.-]+;base64,/, name);
        // No import of a file outside of the bundle is left.
        assert.doesNotMatch(script, /(from|import) ?["'`]\.\.?\/(?!engine-|index-)/, name);
      }
    });

    test("a page's own JavaScript is at most 12 kB when gzipped; the engine follows with the first model", (t) => {
      const assets = join(folder, "dist", "assets");
      const [index] = readdirSync(assets).filter((name) => /^index-.*\.js$/.test(name));
      const gzipped = gzipSync(readFileSync(join(assets, index)), { level: 9 }).length;
      t.diagnostic(`${gzipped} bytes`);
      assert.ok(gzipped <= 12_000, `${gzipped} bytes`);
      const html = readFileSync(join(folder, "dist", "index.html"), "utf8");
      assert.doesNotMatch(html, /engine-/, "the engine is not preloaded");
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

    test("a bundle of another origin runs without a worker; with worker: true, it gets an error that says to pass worker: false", async () => {
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
          const error = await answer(`${server.url}/index.html`, { threads, worker: true });
          assert.deepEqual([error.name, error.code], ["FoveateError", "read"]);
          assert.match(error.message, /^the worker's script cannot be loaded: .*`worker: false`/);
        }
        for (const worker of [false, undefined]) {
          assert.deepEqual((await answer(`${server.url}/index.html`, { worker })).ids, greedy.slice(0, 4));
        }
      } finally {
        await Promise.all([bundle.close(), server.close()]);
      }
    });
  });
});
