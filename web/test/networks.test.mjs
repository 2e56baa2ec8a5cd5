// Bad networks: what a user sees in each case. docs/npm.md lists the cases.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { faulty } from "./faulty.mjs";
import { smallFolder } from "./small.mjs";
import * as support from "./support.mjs";

const MIB = 1 << 20;

/** A file that begins like a GGUF file, of three blocks and a bit. `cache.add` reads no more of it. */
const large = Buffer.concat([Buffer.from("GGUF"), randomBytes(13 * MIB)]);
const other = Buffer.concat([Buffer.from("GGUF"), randomBytes(13 * MIB)]);

const small = (() => {
  const folder = smallFolder();
  const files = readdirSync(folder).map((name) => [`/small/${name}`, readFileSync(join(folder, name))]);
  rmSync(folder, { recursive: true });
  return files;
})();

const CONFIG = "/small/config.json";
const WEIGHTS = "/small/model.safetensors";
const TEMPLATE = "/small/chat_template.jinja";
const LARGE = "/large.gguf";

/**
 * The cases. `on` is the fault as in `faulty`, `run` the steps, `sees` what a user sees, word by word as in docs/npm.md. Steps
 * get:
 *
 * - `load(options)`: loads the small model from the folder `/small/`; returns `{ ids, fetched }` or the error;
 * - `add(options)`: `cache.add` of the file `/large.gguf`; returns the cached model or the error;
 * - `net`: the server of the model; `kept()`: the models of the cache; `page()`: the page.
 */
const CASES = [
  {
    name: "A web page comes in place of the weights, once",
    sees: "`format`, reason `html`; the next load works",
    on: ({ path }, count) => (path === WEIGHTS && count === 0 ? { html: true } : undefined),
    async run({ load, kept }) {
      fails(await load(), "format", "html", /model\.safetensors is not a model: it is a web page/);
      assert.deepEqual(await kept(), []);
      works(await load());
    },
  },
  {
    name: "A web page comes in place of `config.json`, once",
    sees: "`format`, reason `html`; the next load works",
    on: ({ path }, count) => (path === CONFIG && count === 0 ? { html: true } : undefined),
    async run({ load, kept }) {
      fails(await load(), "format", "html", /config\.json is not a model: it is a web page/);
      assert.deepEqual(await kept(), []);
      works(await load());
    },
  },
  {
    name: "A web page comes in place of every file, with status 200 and type `application/octet-stream`",
    sees: "`format`, reason `html`; nothing is kept",
    on: () => ({ body: Buffer.from("<html><body>Log in") }),
    async run({ add, load, kept }) {
      fails(await add(), "format", "html", /large\.gguf is not a model: it is a web page/);
      fails(await load(), "format", "html", /web page/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "The server redirects to a login page",
    sees: "`format`, reason `login`, with the address of the page; the next load works",
    on: ({ path }, count) => (path === "/login" ? { html: true } : path === WEIGHTS && count === 0 ? { redirect: "/login" } : undefined),
    async run({ load, kept, net }) {
      fails(await load(), "format", "login", new RegExp(`the server redirected to a web page, ${net.url}/login: log in there`));
      assert.deepEqual(await kept(), []);
      works(await load());
    },
  },
  {
    name: "Status 403",
    sees: "`read`, reason `forbidden`; the next load asks again",
    on: ({ path }, count) => (path === LARGE && count === 0 ? { status: 403 } : undefined),
    async run({ add, kept }) {
      fails(await add(), "read", "forbidden", /status 403 Forbidden: the server refuses access/);
      assert.deepEqual(await kept(), []);
      added(await add());
    },
  },
  {
    name: "Status 401",
    sees: "`read`, reason `unauthorized`, which names the option `headers`; with a token, the load works",
    on: ({ authorization }) => (authorization === "Bearer secret" ? undefined : { status: 401 }),
    async run({ load, kept }) {
      fails(await load(), "read", "unauthorized", /pass a token in the option headers/);
      assert.deepEqual(await kept(), []);
      works(await load({ headers: { Authorization: "Bearer secret" } }));
    },
  },
  {
    name: "Status 404",
    sees: "`read`, reason `not-found`",
    on: () => ({ status: 404 }),
    async run({ add, load, kept }) {
      fails(await add(), "read", "not-found", /status 404 Not Found: check the address/);
      fails(await load(), "read", "not-found", /config\.json does not exist: a model is a \.gguf file or a folder/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "An optional file is missing (404), and there later",
    sees: "the model loads without it; the next load finds it",
    on: ({ path }, count) => (path === TEMPLATE && count > 0 ? { body: Buffer.from("{{ messages[0].content }}") } : undefined),
    async run({ load }) {
      assert.equal(works(await load()).template, false);
      assert.equal(works(await load()).template, true);
    },
  },
  {
    name: "An optional file gets status 403 or a web page, and is there later",
    sees: "the model loads without it; the next load finds it",
    on: ({ path }, count) => {
      if (path === TEMPLATE) return [{ status: 403 }, { html: true }, { body: Buffer.from("{{ messages[0].content }}") }][count];
    },
    async run({ load }) {
      assert.equal(works(await load()).template, false);
      assert.equal(works(await load()).template, false);
      assert.equal(works(await load()).template, true);
    },
  },
  {
    name: "Status 500 or 503, then the file",
    sees: "the load waits and works",
    on: ({ path }, count) => (path === WEIGHTS && count < 2 ? { status: [500, 503][count] } : undefined),
    run: async ({ load }) => works(await load()),
  },
  {
    name: "Status 500 each time",
    sees: "`read`, reason `server`, after four attempts",
    on: ({ path }) => (path === LARGE ? { status: 500 } : undefined),
    async run({ add, net, kept }) {
      fails(await add(), "read", "server", /status 500 Internal Server Error: the server failed/);
      assert.equal(net.requests.length, 4);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "Status 429 with `Retry-After`, then the file",
    sees: "the load waits as long as the server asks, at most 10 s, and works",
    on: ({ path }, count) => (path === LARGE && count === 0 ? { status: 429, headers: { "Retry-After": "1" } } : undefined),
    async run({ add }) {
      const began = performance.now();
      added(await add());
      assert.ok(performance.now() - began >= 1000);
    },
  },
  {
    name: "The connection drops in the midst of a range",
    sees: "the download goes on at the byte where it stopped",
    on: (_, count) => (count === 0 ? { cut: 3 * MIB } : undefined),
    async run({ add, net }) {
      added(await add());
      const [first, second] = net.requests.map(({ range }) => range);
      assert.equal(first, "bytes=0-4194303");
      const [, from, to] = second.match(/^bytes=(\d+)-(\d+)$/).map(Number);
      assert.ok(from > 0 && from <= 3 * MIB && to === 4 * MIB - 1, second);
    },
  },
  {
    name: "Every connection drops after some bytes",
    sees: "the download goes on from one to the next, and works",
    on: () => ({ cut: 1.5 * MIB }),
    run: async ({ add }) => added(await add()),
  },
  {
    name: "The connection drops, and no byte comes any more",
    sees: "`read`, reason `dropped`, after four attempts; the next load goes on where this one stopped",
    on: ({ range }) => (range?.startsWith("bytes=0-") ? undefined : { cut: 0 }),
    async run({ add, kept, net }) {
      const error = await add();
      assert.ok(["dropped", "unreachable"].includes(error.reason) && error.code === "read", JSON.stringify(error));
      const [{ cachedBytes }] = await kept();
      assert.equal(cachedBytes, 4 * MIB);
      net.on = () => undefined;
      net.requests.length = 0;
      added(await add());
      assert.deepEqual(net.requests.filter(({ range }) => range === "bytes=0-4194303"), []);
    },
  },
  {
    name: "The server does not answer, once",
    sees: "after `timeout`, the load asks again and works",
    on: ({ path }, count) => (path === LARGE && count === 0 ? { hang: -1 } : undefined),
    run: async ({ add }) => added(await add({ timeout: 400 })),
  },
  {
    name: "The server never answers",
    sees: "`read`, reason `timeout`, after four attempts",
    on: () => ({ hang: -1 }),
    async run({ add, kept }) {
      fails(await add({ timeout: 200 }), "read", "timeout", /nothing arrived for 0\.2 s, 4 times: check the connection, or raise the option timeout/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "The server stops in the midst of a range",
    sees: "after `timeout`, the download goes on where it stopped",
    on: (_, count) => (count === 0 ? { hang: 2 * MIB } : undefined),
    async run({ add, net }) {
      added(await add({ timeout: 400 }));
      assert.match(net.requests[1].range, /^bytes=[1-9]\d*-4194303$/);
    },
  },
  {
    name: "The server is slow, but sends bytes",
    sees: "the load goes on for as long as bytes arrive",
    on: ({ path }) => (path === WEIGHTS ? { trickle: 40_000 } : undefined),
    run: async ({ load }) => works(await load({ timeout: 700 })),
  },
  {
    name: "The server answers 200 with the whole file to a range",
    sees: "the file is downloaded once, and kept",
    on: () => ({ ranges: false }),
    async run({ add, net }) {
      added(await add());
      assert.equal(net.requests.length, 1);
    },
  },
  {
    name: "The server answers 200 to a range in the midst of a download",
    sees: "the file is downloaded once more as a whole, and kept",
    on: (_, count) => (count > 0 ? { ranges: false } : undefined),
    run: async ({ add }) => added(await add()),
  },
  {
    name: "The server sends another range than was requested",
    sees: "the file is downloaded as a whole",
    on: ({ range }) => (range && range !== "bytes=0-4194303" ? { from: 100 } : undefined),
    async run({ add, net, same }) {
      added(await add());
      assert.ok(net.requests.some(({ range }) => range === undefined));
      await same(large);
    },
  },
  {
    name: "`Content-Range` names a shorter file or range than before",
    sees: "`read`, reason `changed`; no mixture is kept",
    on: ({ range }) => (range && range !== "bytes=0-4194303" ? { short: 1000 } : undefined),
    async run({ add, kept }) {
      fails(await add(), "read", "changed", /large\.gguf changed on the server while it was downloaded/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "A proxy compresses the file (gzip) and ignores ranges",
    sees: "the file is unpacked, and kept",
    on: () => ({ gzip: true }),
    async run({ add, same, load }) {
      added(await add());
      await same(large);
      works(await load());
    },
  },
  {
    name: "The file is on another origin, whose server exposes no headers",
    sees: "the model loads; its size comes from `Content-Length`",
    on: () => ({ expose: false }),
    async run({ add, same, load }) {
      added(await add());
      await same(large);
      works(await load());
    },
  },
  {
    name: "The file is the same after a day",
    sees: "one HEAD request, no download",
    async run({ add, age, net }) {
      added(await add());
      await age();
      net.requests.length = 0;
      added(await add());
      assert.deepEqual(net.requests.map(({ method }) => method), ["HEAD"]);
      added(await add());
      assert.equal(net.requests.length, 1);
    },
  },
  {
    name: "The file changes between two loads",
    sees: "within a day, the kept file; after a day, the new one",
    async run({ add, age, net, same }) {
      added(await add());
      net.files.set(LARGE, other);
      added(await add());
      await same(large);
      await age();
      added(await add());
      await same(other);
    },
  },
  {
    name: "A server says after a day that the file is another one, and then sends a web page",
    sees: "the kept model loads",
    async run({ load, age, net }) {
      const { ids } = works(await load());
      await age();
      net.on = ({ method }) => (method === "HEAD" ? { body: Buffer.from("GGUF of another length") } : { html: true });
      assert.deepEqual(works(await load()).ids, ids);
      net.on = ({ method }) => (method === "HEAD" ? { body: Buffer.from("GGUF of another length") } : { status: 403 });
      assert.deepEqual(works(await load()).ids, ids);
    },
  },
  {
    name: "The file changes in the midst of a download",
    sees: "the download starts again, and works",
    async run({ add, net, same }) {
      net.on = (_, count) => void (count === 2 && net.files.set(LARGE, other));
      added(await add());
      await same(other);
    },
  },
  {
    name: "The file changes with every request",
    sees: "`read`, reason `changed`; no mixture is kept",
    on: (_, count) => ({ etag: `"${count}"` }),
    async run({ add, kept }) {
      fails(await add(), "read", "changed", /its version differs; load it again/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "Several servers behind one address have different ETags for one file",
    sees: "the model loads, as size and `Last-Modified` are equal",
    on: (_, count) => ({ etag: `"${count % 3}"`, headers: { "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT" } }),
    async run({ add, same }) {
      added(await add());
      await same(large);
    },
  },
  {
    name: "A file of another length takes its place in the midst of a download",
    sees: "the download starts again, and works",
    async run({ add, net, same }) {
      const shorter = other.subarray(0, 9 * MIB);
      net.on = (_, count) => void (count === 2 && net.files.set(LARGE, shorter));
      added(await add());
      await same(shorter);
    },
  },
  {
    name: "The file on the server is cut off",
    sees: "an error that names the file; the next load asks the server again",
    on: ({ path }, count) => (path === WEIGHTS && count === 0 ? { body: net_().files.get(WEIGHTS).subarray(0, 50_000) } : undefined),
    async run({ load, kept }) {
      const error = await load();
      assert.ok(["format", "read"].includes(error.code) && /model\.safetensors/.test(error.message), JSON.stringify(error));
      assert.deepEqual(await kept(), []);
      works(await load());
    },
  },
  {
    name: "A pointer of git-lfs in place of the file",
    sees: "`format`, reason `lfs-pointer`, which names `git lfs pull`",
    on: () => ({ body: Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98000000\n") }),
    async run({ add, kept }) {
      fails(await add(), "format", "lfs-pointer", /large\.gguf is not a model: it is a pointer of git-lfs.*`git lfs pull`/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "An empty file",
    sees: "`read`, reason `empty`",
    on: () => ({ body: Buffer.alloc(0) }),
    async run({ add, kept }) {
      fails(await add(), "read", "empty", /large\.gguf is not a model: it is empty/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "A compressed file",
    sees: "`format`, reason `compressed`",
    on: () => ({ body: gzipSync(large.subarray(0, 1000)) }),
    async run({ add, kept }) {
      fails(await add(), "format", "compressed", /it is compressed: unpack it first/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "The server sends no CORS headers",
    sees: "`read`, reason `cors`, which names the header",
    on: () => ({ cors: false }),
    async run({ add, page }) {
      const { origin } = new URL(page().url());
      fails(await add(), "read", "cors", new RegExp(`does not let pages of ${origin} read it: have it send the header Access-Control-Allow-Origin`));
      const logged = page().complaints.splice(0);
      assert.ok(logged.every((message) => message.includes("CORS policy")), logged.join());
    },
  },
  {
    name: "No server answers",
    sees: "`read`, reason `unreachable`, after four attempts",
    async run({ add, kept }) {
      fails(await add({}, "http://localhost:9/large.gguf"), "read", "unreachable", /no server answers/);
      assert.deepEqual(await kept(), []);
    },
  },
  {
    name: "The device is offline, and the model is in the cache",
    sees: "the model loads, also after a day",
    async run({ load, page, age }) {
      works(await load({ worker: false }));
      await age();
      await page().context().setOffline(true);
      try {
        assert.equal(works(await load({ worker: false })).fetched, 0);
      } finally {
        await page().context().setOffline(false);
      }
    },
  },
  {
    name: "The device is offline, and the model is not in the cache",
    sees: "`read`, reason `offline`",
    async run({ add, page }) {
      await page().context().setOffline(true);
      try {
        fails(await add(), "read", "offline", /this device is offline, and the file is not in the cache/);
      } finally {
        await page().context().setOffline(false);
      }
    },
  },
  {
    name: "The server is down, and the model is in the cache",
    sees: "the model loads, also after a day",
    async run({ load, net, age }) {
      works(await load());
      await age();
      net.on = () => ({ status: 500 });
      assert.equal(works(await load()).fetched, 0);
    },
  },
  {
    name: "The browser's storage has no room",
    sees: "`load` works, with a warning; `cache.add` throws `quota`, with the size; before it downloads, if the browser tells how much room there is",
    async run({ add, load, page, net }) {
      const session = await page().context().newCDPSession(page());
      const { origin } = new URL(page().url());
      await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 6 * MIB });
      try {
        fails(await add(), "quota", undefined, /large\.gguf cannot be kept: it needs [\d.]+ MB more, and the browser's storage is full/);
        await page().evaluate(() => (navigator.storage.estimate = async () => ({ quota: 6e6, usage: 1e6 })));
        await page().evaluate(() => window.foveate.cache.clear());
        net.requests.length = 0;
        fails(await add(), "quota", undefined, /large\.gguf cannot be kept: it needs (9\.4|14) MB more, and this origin has 5\.0 MB of 6\.0 MB left/);
        assert.equal(net.requests.length, 1);
        await page().evaluate(() => delete navigator.storage.estimate);
        const warned = page().waitForEvent("console", (message) => message.type() === "warning");
        await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1000 });
        works(await load({ worker: false }));
        assert.match((await warned).text(), /^foveate: .* cannot be kept: it needs .* MB more/);
      } finally {
        await session.send("Storage.overrideQuotaForOrigin", { origin });
        await session.detach();
      }
    },
  },
  {
    name: "The page is reloaded in the midst of a download",
    sees: "the next load goes on where this one stopped",
    async run({ add, net, page, kept, reopened }) {
      net.on = ({ range }) => (range?.startsWith("bytes=8388608-") ? { hang: 1000 } : undefined);
      const stopped = add({ timeout: 60_000 }).catch(() => {});
      for (let tries = 0; ((await kept())[0]?.cachedBytes ?? 0) < 5 * MIB && tries < 100; tries++) await new Promise((done) => setTimeout(done, 50));
      await page().reload();
      await reopened();
      await stopped;
      net.on = () => undefined;
      net.requests.length = 0;
      added(await add());
      assert.deepEqual(net.requests.filter(({ range }) => /^bytes=(0|4194304)-/.test(range)), []);
    },
  },
  {
    name: "Two tabs download a model at once",
    sees: "each part is downloaded once, and both load",
    async run({ add, net, page, tab, same }) {
      const second = await tab();
      try {
        net.on = () => ({ trickle: MIB });
        const results = await Promise.all([add(), add({}, undefined, second)]);
        for (const result of results) added(result);
        const later = net.requests.filter(({ range }) => !range.startsWith("bytes=0-")).map(({ range }) => range);
        assert.equal(new Set(later).size, later.length, later.join());
        await same(large);
      } finally {
        await second.close();
      }
    },
  },
];

let net;
const net_ = () => net;

function fails(error, code, reason, message) {
  assert.deepEqual([error.ours, error.code, error.reason], [true, code, reason], JSON.stringify(error));
  assert.match(error.message, message);
}

function works(got) {
  assert.equal(got.ids?.length, 2, JSON.stringify(got));
  return got;
}

function added(got) {
  assert.ok(got.complete && got.cachedBytes === got.totalBytes && got.totalBytes > 0, JSON.stringify(got));
  return got;
}

support.inChromium("bad networks", support.skipBrowser, ({ page, tab }) => {
  before(async () => {
    net = await faulty(new Map());
  });

  after(() => net?.close());

  beforeEach(async () => {
    net.files = new Map([...small, [LARGE, large]]);
    await page.evaluate(() => window.foveate.cache.clear());
  });

  const load = (options = {}) =>
    tab().evaluate(
      async ({ source, options }) => {
        let fetched = 0;
        const onProgress = ({ fetchedBytes }) => (fetched = fetchedBytes);
        const got = {};
        const error = await window.thrown(async () => {
          const model = await window.foveate.load(source, { device: "cpu", cache: true, onProgress, ...options });
          got.ids = [];
          for await (const { id } of model.generateTokens([1, 2, 3], { maxTokens: 2 })) got.ids.push(id);
          got.template = model.hasTemplate;
          model.dispose();
        });
        return error ?? { ...got, fetched };
      },
      { source: `${net.url}/small/`, options },
    );

  const add = (options = {}, source = net.url + LARGE, page = tab()) =>
    page.evaluate(
      async ({ source, options }) => {
        let model;
        const error = await window.thrown(async () => (model = await window.foveate.cache.add(source, options)));
        return error ?? model;
      },
      { source, options },
    );

  const kept = () => page.evaluate(() => window.foveate.cache.list());

  /** Makes all files of the cache two days older. */
  const age = () =>
    page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("foveate");
      for await (const [name, handle] of folder.entries()) {
        if (!name.startsWith("file-")) continue;
        const manifest = JSON.parse(await (await handle.getFile()).text());
        const stream = await handle.createWritable();
        await stream.write(JSON.stringify({ ...manifest, checked: manifest.checked - 2 * 24 * 60 * 60 * 1000 }));
        await stream.close();
      }
    });

  /** Compares the kept file with these bytes. */
  const same = async (bytes) => {
    const got = await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("foveate");
      const read = async (name) => (await folder.getFileHandle(name)).getFile();
      for await (const name of folder.keys()) {
        if (!name.startsWith("file-")) continue;
        const { url, blocks } = JSON.parse(await (await read(name)).text());
        if (!url.endsWith("/large.gguf")) continue;
        const all = await new Blob(await Promise.all(blocks.map((block) => read(`block-${block}`)))).arrayBuffer();
        const digest = await crypto.subtle.digest("SHA-256", all);
        return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      }
    });
    const { createHash } = await import("node:crypto");
    assert.equal(got, createHash("sha256").update(bytes).digest("hex"));
  };

  const reopened = () => tab().waitForFunction(() => window.answer);
  const another = async () => {
    const [page] = await Promise.all([tab().context().waitForEvent("page"), tab().evaluate(() => void window.open(location.href))]);
    await page.waitForFunction(() => window.answer);
    return page;
  };

  for (const { name, on = () => undefined, run } of CASES) {
    test(name, async () => {
      net.on = on;
      net.requests.length = 0;
      await run({ load, add, kept, age, same, reopened, page: tab, tab: another, net });
    });
  }
});

test("docs/npm.md lists the cases with what a user sees", () => {
  const docs = readFileSync(fileURLToPath(new URL("../../docs/npm.md", import.meta.url)), "utf8");
  const table = docs.slice(docs.indexOf("## Bad networks"));
  const rows = [...table.matchAll(/^\| (.+?) \| (.+?) \|$/gm)].map(([, name, sees]) => [name, sees]).slice(1);
  assert.deepEqual(rows, CASES.map(({ name, sees }) => [name, sees]));
  assert.ok(CASES.length >= 25);
});
