// The cache of downloaded models: loading without a server, integrity, repair, listing and deletion.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as support from "./support.mjs";

support.inChromium("the cache in Chromium", support.skipBrowser || support.skipGolden, ({ page, tab, serving, requests, url }) => {
  beforeEach(() => page.evaluate(() => window.foveate.cache.clear()));

  const asModel = ({ path }) => path.startsWith("/golden/") || path.startsWith("/models/") || path.startsWith("/hub/");
  const gone = (request) => (asModel(request) ? { status: 500 } : undefined);

  /** Files that the model does not have: their absence is not kept. */
  const MISSING = ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors.index.json"];
  /** Requests of files of the model that it has. */
  const askedAgain = () => requests.filter(asModel).filter(({ path }) => !MISSING.includes(path.split("/").pop()));

  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");
  const llama = "/golden/models/llama/";
  const wanted = greedy?.slice(0, 4);

  /** Loads a model; returns four generated tokens and the bytes fetched over the network. */
  const load = (source = llama, options = {}, ids = prompt) =>
    page.evaluate(
      async ({ source, options, prompt }) => {
        let last;
        const onProgress = (progress) => (last = progress);
        const model = await window.foveate.load(source, { device: "cpu", cache: true, onProgress, ...options });
        const ids = [];
        for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
        model.dispose();
        return { ids, fetched: last.fetchedBytes };
      },
      { source, options, prompt: ids },
    );

  test("a second load downloads nothing and works with the server down", async () => {
    serving(() => undefined);
    const first = await load();
    assert.deepEqual(first.ids, wanted);
    assert.ok(first.fetched > 0);
    serving(gone);
    const second = await load();
    assert.deepEqual(second.ids, wanted);
    assert.equal(second.fetched, 0);
    assert.deepEqual(askedAgain(), []);
  });

  test("cached models are listed, and deleted models are downloaded again", async () => {
    serving(() => undefined);
    await load();
    await load("/golden/models/gpt2/").catch(() => {});
    const kept = await page.evaluate(() => window.foveate.cache.list());
    assert.equal(kept.length, 2);
    const [model] = kept.filter(({ source }) => source.endsWith("/llama/"));
    assert.ok(model.complete && model.cachedBytes === model.totalBytes && model.totalBytes > 100_000, JSON.stringify(model));
    const left = await page.evaluate(async (source) => {
      await window.foveate.cache.delete(source);
      return window.foveate.cache.list();
    }, model.source);
    assert.deepEqual(left.map(({ source }) => source.endsWith("/gpt2/")), [true]);
    serving(() => undefined);
    assert.ok((await load()).fetched > 0);
    assert.ok(requests.some(asModel));
  });

  /** Flips a bit of every block; returns the number of blocks. */
  const damage = () =>
    page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("foveate");
      let count = 0;
      for await (const [name, handle] of folder.entries()) {
        if (!name.startsWith("block-")) continue;
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        bytes[bytes.length >> 1] ^= 1;
        const stream = await handle.createWritable();
        await stream.write(bytes);
        await stream.close();
        count++;
      }
      return count;
    });

  test("damaged blocks are fetched again, or are an error if the server is down", async () => {
    serving(() => undefined);
    const { fetched } = await load();
    assert.ok((await damage()) >= 2);
    assert.deepEqual(await load(), { ids: wanted, fetched });
    serving(gone);
    assert.deepEqual(await load(), { ids: wanted, fetched: 0 });
    await damage();
    const error = await page.evaluate(
      (source) => window.thrown(() => window.foveate.load(source, { device: "cpu", cache: true })),
      llama,
    );
    assert.equal(error.code, "read");
  });

  test("a server without ranges fills the cache", async () => {
    serving((request) => (asModel(request) ? { ranges: false } : undefined));
    assert.deepEqual((await load()).ids, wanted);
    serving(gone);
    assert.deepEqual(await load(), { ids: wanted, fetched: 0 });
  });

  test("a GGUF model sends no request at its second load", async () => {
    const split = "/golden/reports/gguf-split/m-00001-of-00003.gguf";
    serving(() => undefined);
    const first = await load(split, {}, [1, 2, 3]);
    serving(gone);
    assert.deepEqual(await load(split, {}, [1, 2, 3]), { ids: first.ids, fetched: 0 });
    assert.deepEqual(requests.filter(asModel), []);
  });

  test("cache.add downloads ahead with progress, and can be cancelled", { skip: support.skipModel }, async () => {
    serving(() => undefined);
    const got = await page.evaluate(async (source) => {
      const { cache } = window.foveate;
      const [stop, seen] = [new AbortController(), []];
      const onProgress = (progress) => {
        seen.push(progress);
        if (progress.loadedBytes > 30e6) stop.abort();
      };
      const stopped = await window.thrown(() => cache.add(source, { signal: stop.signal, onProgress }));
      const [half] = await cache.list();
      let last;
      const model = await cache.add(source, { onProgress: (progress) => (last = progress) });
      return { stopped, seen, half, last, model, list: await cache.list() };
    }, `/models/${support.smollm2}`);
    assert.equal(got.stopped.code, "cancelled");
    assert.ok(!got.half.complete && got.half.cachedBytes >= 30e6, JSON.stringify(got.half));
    assert.ok(got.seen.every(({ loadedBytes }, i) => i === 0 || loadedBytes >= got.seen[i - 1].loadedBytes), "progress goes on");
    assert.ok(got.model.complete && got.last.loadedBytes === got.last.totalBytes, JSON.stringify(got));
    assert.ok(got.last.fetchedBytes < got.model.totalBytes - 20e6, "what was there is not downloaded again");
    assert.deepEqual(got.list, [got.model]);
    serving(gone);
    const { text, greedy } = support.smollm2Golden().prompts[0];
    const ids = await page.evaluate(
      async ({ source, text }) => {
        const model = await window.foveate.load(source, { device: "cpu", cache: true });
        const ids = [];
        for await (const { id } of model.generateTokens(text, { maxTokens: 2 })) ids.push(id);
        model.dispose();
        return ids;
      },
      { source: `/models/${support.smollm2}`, text },
    );
    assert.deepEqual(ids, greedy.slice(0, 2));
    assert.deepEqual(requests.filter(asModel), []);
  });

  test("the browser is asked once to keep models", async () => {
    serving(() => undefined);
    await tab().reload();
    await tab().waitForFunction(() => window.answer);
    await page.evaluate(() => {
      window.asked = 0;
      navigator.storage.persisted = async () => false;
      navigator.storage.persist = async () => (window.asked++, false);
    });
    for (const source of [llama, llama]) await load(source);
    await page.evaluate((source) => window.foveate.cache.add(source), llama);
    assert.equal(await page.evaluate(() => window.asked), 1);
    await page.evaluate(() => {
      delete navigator.storage.persisted;
      delete navigator.storage.persist;
    });
  });

  test("models are deleted by any form of their address", async () => {
    serving(() => undefined);
    const left = [];
    for (const source of [llama, `${url()}${llama}`, "acme/llama"]) {
      await load(source, { hub: `${url()}/hub` });
      const options = { hub: `${url()}/hub` };
      left.push(await page.evaluate(async ({ source, options }) => (await window.foveate.cache.delete(source, options), window.foveate.cache.list()), { source, options }));
    }
    assert.deepEqual(left, [[], [], []]);
  });

  test("a web page that an earlier version kept in place of a model is downloaded again", async () => {
    serving(() => undefined);
    const { ids } = await load();
    // The first block of the weights becomes that of a web page, with a right hash.
    await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("foveate");
      const write = async (name, data) => {
        const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
        await stream.write(data);
        await stream.close();
      };
      const html = new TextEncoder().encode("<!doctype html><title>Log in</title>");
      const digest = [...new Uint8Array(await crypto.subtle.digest("SHA-256", html))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await write(`block-${digest}`, html);
      for await (const [name, handle] of folder.entries()) {
        if (!name.startsWith("file-")) continue;
        const { url, source } = JSON.parse(await (await handle.getFile()).text());
        if (url.endsWith("model.safetensors")) await write(name, JSON.stringify({ url, source, size: html.length, blocks: [digest] }));
      }
    });
    assert.deepEqual((await load()).ids, ids);
    assert.ok((await page.evaluate(() => window.foveate.cache.list())).every(({ complete }) => complete));
  });

  test("a model of a hub loads by its name", async () => {
    serving(() => undefined);
    assert.deepEqual((await load("acme/llama", { hub: `${url()}/hub` })).ids, wanted);
  });

  test("a cancelled load resumes where it stopped", { skip: support.skipModel }, async () => {
    serving(() => undefined);
    const stopped = await page.evaluate(async (source) => {
      const controller = new AbortController();
      let fetched = 0;
      const onProgress = (progress) => {
        fetched = progress.fetchedBytes;
        if (fetched > 40e6) controller.abort();
      };
      const options = { device: "cpu", cache: true, signal: controller.signal, onProgress };
      const { code } = await window.thrown(() => window.foveate.load(source, options));
      return { code, fetched };
    }, `/models/${support.smollm2}`);
    assert.equal(stopped.code, "cancelled");
    const [{ cachedBytes, totalBytes, complete }] = await page.evaluate(() => window.foveate.cache.list());
    // Ranges that were on their way are lost: several of 4 MiB.
    assert.ok(cachedBytes >= 20e6 && cachedBytes < totalBytes && !complete, `${cachedBytes} of ${totalBytes}`);
    const { fetched } = await load(`/models/${support.smollm2}`);
    assert.ok(fetched <= totalBytes - cachedBytes, `${fetched} fetched, ${cachedBytes} of ${totalBytes} were cached`);
    const [now] = await page.evaluate(() => window.foveate.cache.list());
    assert.ok(now.complete);
  });

  test("a directory handle loads, and a stream of noise is refused", async () => {
    serving(() => undefined);
    const got = await page.evaluate(
      async ({ llama, prompt }) => {
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle("model", { create: true });
        for (const name of ["config.json", "model.safetensors"]) {
          const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
          await stream.write(await (await fetch(llama + name)).blob());
          await stream.close();
        }
        const model = await window.foveate.load(folder, { device: "cpu" });
        const ids = [];
        for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
        model.dispose();
        const noise = new Blob(["no model"]).stream();
        const { code } = await window.thrown(() => window.foveate.load(noise, { device: "cpu" }));
        return { ids, code };
      },
      { llama, prompt },
    );
    assert.deepEqual(got, { ids: wanted, code: "format" });
  });

  test("a stream and a handle of a GGUF file load", { skip: support.skipModel }, async () => {
    serving(() => undefined);
    const { text, greedy } = support.smollm2Golden().prompts[0];
    const got = await page.evaluate(
      async ({ source, text }) => {
        const root = await navigator.storage.getDirectory();
        const handle = await root.getFileHandle("model.gguf", { create: true });
        await (await fetch(source)).body.pipeTo(await handle.createWritable());
        const all = [];
        for (const from of [(await fetch(source)).body, handle]) {
          const model = await window.foveate.load(from, { device: "cpu" });
          const ids = [];
          for await (const { id } of model.generateTokens(text, { maxTokens: 2 })) ids.push(id);
          model.dispose();
          all.push(ids);
        }
        await root.removeEntry("model.gguf");
        all.push(await window.thrown(() => window.foveate.load(handle, { device: "cpu" })));
        return all;
      },
      { source: `/models/${support.smollm2}`, text },
    );
    const gone = got.pop();
    assert.deepEqual(got, [greedy.slice(0, 2), greedy.slice(0, 2)]);
    assert.ok(gone.ours && gone.code === "read" && gone.message.includes("model.gguf"), JSON.stringify(gone));
  });

  test("without the origin private file system, the Cache API stores models", async () => {
    serving(() => undefined);
    const run = (work) =>
      page.evaluate(
        async ({ work, llama, prompt }) => {
          const { getDirectory } = StorageManager.prototype;
          StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("none here", "SecurityError"));
          try {
            if (work === "forget") {
              const [{ source, complete }] = await window.foveate.cache.list();
              await window.foveate.cache.delete(source);
              return { complete, left: await (await caches.open("foveate")).keys() };
            }
            let last;
            const onProgress = (progress) => (last = progress);
            const model = await window.foveate.load(llama, { device: "cpu", cache: true, worker: false, onProgress });
            const ids = [];
            for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
            model.dispose();
            return { ids, fetched: last.fetchedBytes };
          } finally {
            StorageManager.prototype.getDirectory = getDirectory;
          }
        },
        { work, llama, prompt },
      );
    const first = await run("load");
    assert.deepEqual(first.ids, wanted);
    assert.ok(first.fetched > 0);
    assert.deepEqual(await page.evaluate(() => window.foveate.cache.list()), [], "the origin private file system is empty");
    serving(gone);
    assert.deepEqual(await run("load"), { ids: wanted, fetched: 0 });
    assert.deepEqual(askedAgain(), []);
    assert.deepEqual(await run("forget"), { complete: true, left: [] });
  });

  test("SmolLM2 recovers a lost device from the cache, with the server down", { skip: support.skipModel }, async () => {
    const smollm2 = `/models/${support.smollm2}`;
    const [{ text, greedy }] = support.smollm2Golden().prompts;
    serving(() => undefined);
    // A load for the CPU caches the same files as a load for a GPU.
    await page.evaluate(async (smollm2) => (await window.foveate.load(smollm2, { device: "cpu", cache: true })).dispose(), smollm2);
    serving(gone);
    const got = await page.evaluate(
      async ({ smollm2, text }) => {
        const { devices, end } = window.devicesFromHere();
        let events = 0;
        const options = { device: "gpu", cache: true, worker: false, onDeviceLost: () => events++ };
        const model = await window.foveate.load(smollm2, options);
        const ids = [];
        for await (const { id } of model.generateTokens(text, { maxTokens: 4 })) {
          ids.push(id);
          if (ids.length === 2) devices.at(-1).destroy();
        }
        model.dispose();
        end();
        return { ids, events };
      },
      { smollm2, text },
    );
    assert.deepEqual(got, { ids: greedy.slice(0, 4), events: 1 });
    assert.deepEqual(requests.filter(asModel), []);
  });
});
