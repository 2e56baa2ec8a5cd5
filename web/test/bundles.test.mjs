// Recipes of docs/npm.md: the installed package in bundles of several tools, under a strict policy, and offline.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { serve } from "../serve.mjs";
import { bun, HTML, MAIN, packed, web } from "./packed.mjs";
import * as support from "./support.mjs";

/** Returns the code block below a heading of docs/npm.md. */
function recipe(heading) {
  const docs = readFileSync(join(web, "../docs/npm.md"), "utf8");
  const [, code] = docs.slice(docs.indexOf(`\n### ${heading}\n`)).match(/^```\w*\n(.*?)^```$/ms);
  return code;
}

const tool = (path) => import(pathToFileURL(join(web, "node_modules", path)));
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

describe("bundles", { skip: support.skipBrowser || support.skipGolden }, () => {
  let root, browser;
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");

  before(async () => {
    ({ root } = packed("esbuild", "rollup", "bun", "parcel", "webpack", "vite"));
    browser = await support.launch();
  });

  after(async () => {
    await browser?.close();
    if (root) rmSync(root, { recursive: true, force: true });
  });

  /** Opens a page; runs `work` with `answer(options)`. */
  const visit = async (url, work) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    try {
      await page.goto(url);
      await page.waitForFunction(() => window.answer, null, { timeout: 20_000 }).catch((error) => assert.fail(`${error}: ${complaints}`));
      await work((options = {}) => page.evaluate((args) => window.answer("/model/", ...args), [prompt, options]), page);
      assert.deepEqual(complaints, []);
    } finally {
      await context.close();
    }
  };

  /** Serves a folder and the model. */
  const serving = (folder, work) => async () => {
    const server = await serve({ mounts: { "/": folder(), "/model/": support.goldenPath("models/llama") }, on: () => ({ isolated: true }) });
    try {
      await work(`${server.url}/index.html`);
    } finally {
      await server.close();
    }
  };

  /** Checks one thread and two. */
  const both = (url, worker = true) =>
    visit(url, async (answer) => {
      for (const threads of [1, 2]) {
        const { ids, device, message } = await answer({ threads, worker });
        assert.deepEqual(ids, greedy.slice(0, 4), message);
        assert.match(device, new RegExp(`^cpu, ${threads} thread`));
      }
    });

  /** Writes a page that names the workers and the wasm. Returns its folder. */
  const naming = (name) => {
    const folder = join(root, name.toLowerCase());
    const options = "{ device: 'cpu', workerUrl: 'out/threaded.js', wasmUrl: 'out/pkg/', ...options }";
    writeFileSync(join(folder, "main.js"), MAIN(`load(source, ${options})`));
    writeFileSync(join(folder, "index.html"), HTML("out/main.js"));
    return folder;
  };

  /** Runs a recipe for pages that name the workers and the wasm, with `tools(folder)` in the place of its imports. */
  const named = (name, tools) => async () => {
    const folder = naming(name);
    const imports = { ...(await tools(folder)), cpSync: (from, to, options) => cpSync(join(folder, from), join(folder, to), options) };
    const AsyncFunction = (async () => {}).constructor;
    const code = recipe(name).replaceAll(/^import .*\n/gm, "");
    await new AsyncFunction(...Object.keys(imports), code)(...Object.values(imports));
    await serving(() => folder, both)();
  };

  test(
    "esbuild",
    named("esbuild", async (folder) => {
      const { build } = await tool("esbuild/lib/main.js");
      return { build: (options) => build({ ...options, absWorkingDir: folder, logLevel: "error" }) };
    }),
  );

  test(
    "Rollup",
    named("Rollup", async (folder) => {
      const [{ rollup }, { nodeResolve }] = [await tool("rollup/dist/es/rollup.js"), await tool("@rollup/plugin-node-resolve/dist/es/index.js")];
      const at = async ({ input, plugins }) => {
        const onwarn = ({ message }) => assert.fail(message);
        const bundle = await rollup({ input: input.map((path) => join(folder, path)), plugins, onwarn });
        return { write: (options) => bundle.write({ ...options, dir: join(folder, options.dir) }) };
      };
      return { rollup: at, nodeResolve };
    }),
  );

  test("Bun", { skip: support.unless(bun, "Bun") }, async () => {
    const folder = naming("Bun");
    writeFileSync(join(folder, "build.mjs"), recipe("Bun"));
    execFileSync(bun, ["build.mjs"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    await serving(() => folder, both)();
  });

  test("Parcel", async () => {
    const folder = join(root, "parcel");
    writeFileSync(join(folder, "main.js"), MAIN());
    writeFileSync(join(folder, "index.html"), HTML("main.js"));
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ ...manifest, ...JSON.parse(`{${recipe("Parcel")}}`) }));
    const docs = readFileSync(join(web, "../docs/npm.md"), "utf8");
    const [, args] = /`parcel (build index\.html [^`]+)`/.exec(docs);
    const parcel = join(web, "node_modules/parcel/lib/bin.js");
    execFileSync(process.execPath, [parcel, ...args.split(" "), "--no-cache"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    await serving(() => join(folder, "dist"), both)();
  });

  test("webpack without configuration of its own", async () => {
    const folder = join(root, "webpack");
    writeFileSync(join(folder, "main.js"), MAIN());
    const { default: webpack } = await tool("webpack/lib/index.js");
    const output = { path: join(folder, "out"), filename: "main.js" };
    const stats = await new Promise((resolve, reject) => {
      webpack({ mode: "production", context: folder, entry: "./main.js", output }, (error, stats) => (error ? reject(error) : resolve(stats)));
    });
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
    assert.deepEqual(errors.map(({ message }) => message), []);
    assert.deepEqual(warnings.map(({ message }) => message).filter((message) => !message.includes("size")), []);
    writeFileSync(join(folder, "out", "index.html"), HTML("main.js"));
    await serving(() => join(folder, "out"), both)();
  });

  describe("offline and strict pages of Vite", () => {
    let folder;

    before(async () => {
      folder = join(root, "vite");
      writeFileSync(join(folder, "main.js"), `${recipe("In the page")}\n${MAIN()}`);
      writeFileSync(join(folder, "index.html"), HTML("/main.js"));
      mkdirSync(join(folder, "public"));
      writeFileSync(join(folder, "public", "sw.js"), recipe("sw.js"));
      const vite = await tool("vite/dist/node/index.js");
      await vite.build({ root: folder, configFile: false, logLevel: "error", build: { target: "es2022" } });
    });

    test("after one visit, the page loads and answers without a server", async () => {
      const mounts = { "/": join(folder, "dist"), "/model/": support.goldenPath("models/llama") };
      const server = await serve({ mounts });
      let closed = false;
      try {
        await visit(`${server.url}/index.html`, async (answer, page) => {
          assert.deepEqual((await answer()).ids, greedy.slice(0, 4));
          await server.close();
          closed = true;
          await page.reload();
          await page.waitForFunction(() => window.answer);
          const { ids, message } = await answer();
          assert.deepEqual(ids, greedy.slice(0, 4), message);
        });
      } finally {
        if (!closed) await server.close();
      }
    });

    test("the policy of the recipe lets the page run in a worker, with threads", async () => {
      const policy = recipe("A strict Content-Security-Policy").match(/^Content-Security-Policy: (.*)$/m)[1];
      assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*/);
      const types = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };
      const server = createServer((request, response) => {
        const { pathname } = new URL(request.url, "http://localhost");
        const path = pathname.startsWith("/model/") ? support.goldenPath(`models/llama/${pathname.slice(7)}`) : join(folder, "dist", pathname);
        try {
          const body = readFileSync(path);
          response.writeHead(200, { ...ISOLATED, "Content-Security-Policy": policy, "Content-Type": types[path.split(".").pop()] ?? "application/octet-stream" });
          response.end(body);
        } catch {
          response.writeHead(404).end();
        }
      });
      await new Promise((done) => server.listen(0, "127.0.0.1", done));
      try {
        await both(`http://localhost:${server.address().port}/index.html`);
      } finally {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    });
  });
});
