// Sources of models: bytes, names on a hub, lists, the caller's fetch; and pages that block the worker or requests.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { addressOf } from "../dist/address.js";
import { faulty } from "./faulty.mjs";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

const SPLIT = [1, 2, 3].map((part) => `/golden/reports/gguf-split/m-0000${part}-of-00003.gguf`);
const GGUF = "/golden/reports/gguf-rope-freqs/model.gguf";

test("names and web pages of a hub become addresses of files", () => {
  const files = "https://huggingface.co/acme/tiny.model/resolve/main/";
  const cases = {
    "acme/tiny.model": files,
    "acme/tiny.model/model.Q4_K_M.gguf": `${files}model.Q4_K_M.gguf`,
    "acme/tiny.model/q4/model-00001-of-00002.gguf": `${files}q4/model-00001-of-00002.gguf`,
    "https://huggingface.co/acme/tiny.model": files,
    "https://huggingface.co/acme/tiny.model/": files,
    "https://huggingface.co/acme/tiny.model/tree/main": files,
    "https://huggingface.co/acme/tiny.model/tree/v1.0/sub": "https://huggingface.co/acme/tiny.model/resolve/v1.0/sub/",
    "https://huggingface.co/acme/tiny.model/blob/main/model.gguf": `${files}model.gguf`,
    "https://huggingface.co/acme/tiny.model/blob/main/model.gguf?download=true": `${files}model.gguf?download=true`,
    "https://hf.co/acme/tiny.model/blob/main/model.gguf": "https://hf.co/acme/tiny.model/resolve/main/model.gguf",
    "https://huggingface.co/acme/tiny.model/resolve/main/model.gguf": `${files}model.gguf`,
    "https://example.com/acme/tiny/blob/main/model.gguf": "https://example.com/acme/tiny/blob/main/model.gguf",
    "https://example.com/model": "https://example.com/model",
    "models/model.gguf": "models/model.gguf",
    "../acme/model": "../acme/model",
    "./acme/tiny/model.gguf": "./acme/tiny/model.gguf",
  };
  for (const [source, address] of Object.entries(cases)) assert.equal(addressOf(source), address, source);
  assert.equal(addressOf("acme/tiny", "https://hub.example/api/"), "https://hub.example/api/acme/tiny/resolve/main/");
  assert.equal(addressOf("https://hub.example/acme/tiny/blob/main/a.gguf", "https://hub.example"), "https://hub.example/acme/tiny/resolve/main/a.gguf");
});

support.inChromium("sources in Chromium", support.skipBrowser || support.skipGolden, ({ page, tab, serving, requests, url }) => {
  let small, net;

  before(async () => {
    small = smallFolder();
    const files = readdirSync(small).map((name) => [`/acme/small/resolve/main/${name}`, readFileSync(join(small, name))]);
    const gguf = readFileSync(support.goldenPath(GGUF.replace("/golden/", "")));
    net = await faulty(new Map([...files, ["/acme/gguf/resolve/main/sub/model.gguf", gguf]]));
  });

  after(async () => {
    if (small) rmSync(small, { recursive: true });
    await net?.close();
  });

  /** Returns two tokens of a model, or the error. `source` is a function of the page, or an address. */
  const ids = (source, options = {}, on = tab()) =>
    on.evaluate(
      async ({ source, options, argument }) => {
        const { device = "cpu", ...rest } = options;
        let got;
        const error = await window.thrown(async () => {
          const from = typeof source === "string" && source.startsWith("async ") ? await new Function("argument", `return (${source})(argument)`)(argument) : source;
          const model = await window.foveate.load(from, { device, ...rest });
          got = [];
          for await (const { id } of model.generateTokens([1, 2, 3], { maxTokens: 2 })) got.push(id);
          model.dispose();
        });
        return error ?? got;
      },
      { source: typeof source === "function" ? String(source) : source, options, argument: { GGUF, SPLIT } },
    );

  test("bytes, a Response and a Blob give the tokens of the address", async () => {
    serving(() => undefined);
    const wanted = await ids(GGUF);
    assert.equal(wanted.length, 2, JSON.stringify(wanted));
    for (const source of [
      async ({ GGUF }) => fetch(GGUF),
      async ({ GGUF }) => (await fetch(GGUF)).arrayBuffer(),
      async ({ GGUF }) => new Uint8Array(await (await fetch(GGUF)).arrayBuffer()),
      async ({ GGUF }) => (await fetch(GGUF)).blob(),
      async ({ GGUF }) => [new File([await (await fetch(GGUF)).blob()], "m.gguf")],
      async ({ GGUF }) => new URL(GGUF, location.href),
    ]) {
      assert.deepEqual(await ids(source), wanted, String(source));
      assert.deepEqual(await ids(source, { worker: false }), wanted, String(source));
    }
    const missing = await ids(async () => fetch("/nowhere.gguf"));
    assert.deepEqual([missing.code, /status 404/.test(missing.message)], ["read", true], JSON.stringify(missing));
    const pointer = await ids(async () => new Blob(["version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"]));
    assert.deepEqual([pointer.code, pointer.reason], ["format", "lfs-pointer"]);
    const number = await ids(async () => 5);
    assert.equal(number.code, "config");
  });

  test("a split GGUF file loads from any part, from a list of addresses and from files", async () => {
    serving(() => undefined);
    const wanted = await ids(SPLIT[0]);
    assert.equal(wanted.length, 2, JSON.stringify(wanted));
    for (const source of [
      SPLIT[1],
      SPLIT[2],
      SPLIT,
      async ({ SPLIT }) => SPLIT.map((part) => new URL(part, location.href)).reverse(),
      async ({ SPLIT }) => Promise.all(SPLIT.map(async (part) => new File([await (await fetch(part)).blob()], part.split("/").pop()))),
    ]) {
      assert.deepEqual(await ids(source), wanted, String(source));
    }
    const part = await ids(SPLIT.slice(0, 2));
    assert.ok(part.ours && /part|split/.test(part.message), JSON.stringify(part));
    serving(({ path }) => (path === SPLIT[2] ? { status: 404 } : undefined));
    const missing = await ids(SPLIT[0]);
    assert.deepEqual([missing.code, missing.reason], ["read", "not-found"]);
    assert.match(missing.message, /m-00003-of-00003\.gguf/);
  });

  test("a folder as a list of addresses, and names and web pages of a hub", async () => {
    serving(() => undefined);
    const hub = net.url;
    const wanted = await ids(`${hub}/acme/small/resolve/main/`);
    assert.equal(wanted.length, 2, JSON.stringify(wanted));
    const list = ["config.json", "model.safetensors", "tokenizer.json"].map((name) => `${hub}/acme/small/resolve/main/${name}`);
    for (const source of [list, "acme/small", `${hub}/acme/small`, `${hub}/acme/small/tree/main`]) {
      assert.deepEqual(await ids(source, { hub }), wanted, String(source));
    }
    const file = await ids(GGUF);
    for (const source of ["acme/gguf/sub/model.gguf", `${hub}/acme/gguf/blob/main/sub/model.gguf`]) {
      assert.deepEqual(await ids(source, { hub }), file, source);
    }
  });

  test("headers and the caller's fetch reach a private model, with and without a worker", async () => {
    serving(() => undefined);
    net.on = ({ authorization }) => (authorization === "Bearer secret" ? undefined : { status: 401 });
    try {
      const source = `${net.url}/acme/small/resolve/main/`;
      const denied = await ids(source);
      assert.deepEqual([denied.code, denied.reason], ["read", "unauthorized"]);
      const wanted = await ids(source, { headers: { Authorization: "Bearer secret" } });
      assert.equal(wanted.length, 2, JSON.stringify(wanted));
      for (const worker of [true, false]) {
        const got = await page.evaluate(
          async ({ source, worker }) => {
            const asked = [];
            const own = (address, init) => {
              asked.push([new URL(address).pathname.split("/").pop(), init.headers.Range]);
              return fetch(address, { ...init, headers: { ...init.headers, Authorization: "Bearer secret" } });
            };
            const model = await window.foveate.load(source, { device: "cpu", worker, fetch: own });
            const ids = [];
            for await (const { id } of model.generateTokens([1, 2, 3], { maxTokens: 2 })) ids.push(id);
            model.dispose();
            const failing = await window.thrown(() => window.foveate.load(source, { worker, fetch: () => Promise.reject(new Error("no tunnel")) }));
            const stop = new AbortController();
            const hanging = (_, { signal }) =>
              new Promise((_, reject) => {
                signal.addEventListener("abort", () => ((stop.seen = true), reject(signal.reason)));
                setTimeout(() => stop.abort(), 100);
              });
            const ended = await window.thrown(() => window.foveate.load(source, { worker, fetch: hanging, signal: stop.signal }));
            await new Promise((done) => setTimeout(done, 100));
            return { ids, asked, failing, ended, seen: stop.seen };
          },
          { source, worker },
        );
        assert.deepEqual(got.ids, wanted);
        assert.ok(got.asked.some(([name, range]) => name === "model.safetensors" && range === "bytes=0-4194303"), JSON.stringify(got.asked));
        assert.deepEqual([got.failing.code, got.failing.reason], ["read", "unreachable"]);
        assert.match(got.failing.message, /the given fetch failed: no tunnel/);
        assert.deepEqual([got.ended.code, got.seen], ["cancelled", true]);
      }
    } finally {
      net.on = () => undefined;
    }
  });

  test("a large file arrives whole through the caller's fetch and a worker", { skip: support.skipModel }, async () => {
    serving(() => undefined);
    const { text, greedy } = support.smollm2Golden().prompts[0];
    const got = await page.evaluate(
      async ({ source, text }) => {
        const model = await window.foveate.load(source, { device: "cpu", fetch: (address, init) => fetch(address, init) });
        const ids = [];
        for await (const { id } of model.generateTokens(text, { maxTokens: 2 })) ids.push(id);
        model.dispose();
        return ids;
      },
      { source: `/models/${support.smollm2}`, text },
    );
    assert.deepEqual(got, greedy.slice(0, 2));
  });

  test("copies of the worker and of the wasm elsewhere", async () => {
    serving(() => undefined);
    const wanted = await ids(GGUF);
    serving(() => undefined);
    assert.deepEqual(await ids(GGUF, { workerUrl: "../dist/worker.js?copy", wasmUrl: "/test/../pkg/foveate_bg.wasm?copy" }), wanted);
    assert.ok(requests.some(({ path }) => path === "/pkg/foveate_bg.wasm") && requests.some(({ path }) => path === "/dist/worker.js"));
    assert.deepEqual(await ids(GGUF, { wasmUrl: "/pkg/" }), wanted);
    assert.deepEqual(await ids(GGUF, { worker: false, wasmUrl: "/pkg/" }), wanted);
    const missing = await ids(GGUF, { wasmUrl: "/nowhere/" });
    assert.equal(missing.code, "read");
    assert.match(missing.message, /^cannot load the wasm/);
    const worker = await ids(GGUF, { workerUrl: "/nowhere.js", worker: true });
    assert.deepEqual([worker.code, worker.reason], ["read", "worker"]);
  });

  test("unknown options are errors that name the nearest", async () => {
    const errors = await page.evaluate(async (source) => {
      const { load, device, cache } = window.foveate;
      const tries = [
        () => load(source, { onprogress: () => {} }),
        () => load(source, { threds: 2 }),
        () => load(source, { temperature: 1 }),
        () => load(source, { device: "tpu" }),
        () => device("cpu", { basline: true }),
        () => cache.add(source, { singal: undefined, onProgres: () => {} }),
      ];
      const all = [];
      for (const work of tries) all.push(await window.thrown(work));
      return all;
    }, GGUF);
    for (const error of errors) assert.ok(error?.ours && error.code === "config", JSON.stringify(errors));
    const messages = errors.map(({ message }) => message);
    assert.match(messages[0], /^load has no option onprogress: did you mean onProgress\?/);
    assert.match(messages[1], /did you mean threads\?/);
    assert.match(messages[2], /^load has no option temperature: its options are /);
    assert.match(messages[3], /^device must be auto, gpu, cpu or reference, got tpu/);
    assert.match(messages[4], /^device has no option basline: did you mean baseline\?/);
    assert.match(messages[5], /^cache\.add has no option onProgres: did you mean onProgress\?/);
  });

  /** Opens the blank page with a Content-Security-Policy. */
  const underPolicy = async (policy, work, origin = url()) => {
    const context = await tab().context().browser().newContext();
    const page = await context.newPage();
    await page.route(/blank\.html/, async (route) => {
      const response = await fetch(`${url()}/test/blank.html`);
      await route.fulfill({ body: await response.text(), headers: { "Content-Type": "text/html", "Content-Security-Policy": policy } });
    });
    try {
      if (origin !== url()) await page.route(`${origin}/**`, async (route) => {
        const { pathname } = new URL(route.request().url());
        if (pathname.endsWith("blank.html")) return route.fallback();
        const response = await fetch(url() + pathname);
        return route.fulfill({ body: Buffer.from(await response.arrayBuffer()), contentType: response.headers.get("Content-Type") });
      });
      await page.goto(`${origin}/test/blank.html`);
      await page.waitForFunction(() => window.answer);
      return await work(page);
    } finally {
      await context.close();
    }
  };

  const SCRIPTS = "script-src 'self' 'unsafe-inline'";

  test("a page that allows scripts, wasm, workers and requests of its own origin runs in a worker", async () => {
    serving(() => undefined);
    const wanted = await ids(GGUF);
    const policy = `default-src 'none'; ${SCRIPTS} 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'`;
    await underPolicy(policy, async (page) => {
      assert.deepEqual(await ids(GGUF, { worker: true }, page), wanted);
    });
  });

  test("a page that blocks workers runs in its own thread, with a warning; worker: true is an error that names the directive", async () => {
    serving(() => undefined);
    const wanted = await ids(GGUF);
    const policy = `default-src 'none'; ${SCRIPTS} 'wasm-unsafe-eval'; worker-src 'none'; connect-src 'self'`;
    await underPolicy(policy, async (page) => {
      const warned = page.waitForEvent("console", (message) => message.type() === "warning" && message.text().startsWith("foveate"));
      assert.deepEqual(await ids(GGUF, {}, page), wanted);
      assert.match((await warned).text(), /^foveate: continuing without a worker.*Content-Security-Policy.*worker-src/);
      const error = await ids(GGUF, { worker: true }, page);
      assert.deepEqual([error.code, error.reason], ["read", "csp"], JSON.stringify(error));
      assert.match(error.message, /Content-Security-Policy blocks the worker: .* directive worker-src/);
    });
  });

  test("policies that block the wasm or requests are named", async () => {
    serving(() => undefined);
    await underPolicy(`default-src 'none'; ${SCRIPTS}; connect-src 'self'`, async (page) => {
      const error = await ids(GGUF, { worker: false }, page);
      assert.deepEqual([error.code, error.reason], ["read", "csp"], JSON.stringify(error));
      assert.match(error.message, /add 'wasm-unsafe-eval' to its directive script-src/);
    });
    await underPolicy(`default-src 'none'; ${SCRIPTS} 'wasm-unsafe-eval'; connect-src 'self'`, async (page) => {
      const error = await ids(`${net.url}/acme/small/resolve/main/`, { worker: false }, page);
      assert.deepEqual([error.code, error.reason], ["read", "csp"], JSON.stringify(error));
      assert.ok(error.message.includes(`add ${net.url} to its directive connect-src`), error.message);
    });
  });

  test("a page with TLS names a model without", async () => {
    serving(() => undefined);
    await underPolicy(`${SCRIPTS} 'wasm-unsafe-eval' 'unsafe-eval'`, async (page) => {
      const error = await page.evaluate(() => window.thrown(() => window.foveate.cache.add("http://models.example/model.gguf")));
      assert.deepEqual([error.code, error.reason], ["read", "mixed-content"], JSON.stringify(error));
      assert.match(error.message, /cannot read an address without: use https/);
    }, "https://page.example");
  });
});
