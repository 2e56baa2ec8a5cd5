// Errors and cancellation in Chromium.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as support from "./support.mjs";

support.inChromium("the lifecycle of a model in Chromium", support.skipBrowser || support.skipGolden, ({ page, serving, requests }) => {
  const { prompt, greedy } = support.skipGolden ? {} : support.goldenTokens("llama");

  const answer = (source, options) =>
    page.evaluate((args) => window.answer(...args), [source, { device: "cpu" }, prompt, { maxTokens: 4, ...options }]);

  test("an aborted load ends at once and sends no more requests", { skip: support.skipModel }, async () => {
    serving(({ path }) => ({ delay: path.endsWith(".gguf") ? 50 : 0 }));
    const got = await page.evaluate(async (source) => {
      const controller = new AbortController();
      let aborted;
      let later = 0;
      const onProgress = ({ loadedBytes }) => {
        if (aborted !== undefined) later++;
        if (loadedBytes < 20e6 || aborted !== undefined) return;
        aborted = performance.now();
        controller.abort();
      };
      const error = await window.thrown(() =>
        window.foveate.load(source, { device: "cpu", signal: controller.signal, onProgress }),
      );
      return { error, later, ms: performance.now() - aborted };
    }, `/models/${support.smollm2}`);
    assert.equal(got.error.code, "cancelled");
    assert.ok(got.error.ours && got.later === 0 && got.ms < 100, JSON.stringify(got));
    const asked = () => requests.filter(({ path }) => path.endsWith(".gguf")).length;
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    // Requests that were already sent may arrive later.
    await wait(300);
    const before = asked();
    await wait(500);
    assert.equal(asked(), before, "the rest of the file is not requested");
    assert.ok(before < 15, `${before} requests`);
  });

  test("an aborted signal stops a load before it begins", async () => {
    serving(() => undefined);
    const got = await page.evaluate(() =>
      window.thrown(() => window.foveate.load("/nothing.gguf", { signal: AbortSignal.abort() })),
    );
    assert.equal(got.code, "cancelled");
    assert.equal(requests.length, 0);
  });

  for (const device of ["cpu", "gpu"]) {
    test(`an answer on ${device} that is aborted ends at once, and the model stays usable`, async () => {
      const got = await page.evaluate(
        async ({ prompt, device }) => {
          const model = await window.foveate.load("/golden/models/llama/", { device });
          const controller = new AbortController();
          const ids = [];
          let aborted;
          const error = await window.thrown(async () => {
            const options = { maxTokens: 100, signal: controller.signal };
            for await (const { id } of model.generateTokens(prompt, options)) {
              ids.push(id);
              if (ids.length < 3) continue;
              // During the next step.
              setTimeout(() => {
                aborted = performance.now();
                controller.abort();
              }, 0);
            }
          });
          const ms = performance.now() - aborted;
          const again = [];
          for await (const { id } of model.generateTokens(prompt, { maxTokens: 3 })) again.push(id);
          model.dispose();
          return { error, ids, again, ms };
        },
        { prompt, device },
      );
      assert.equal(got.error.code, "cancelled");
      assert.ok(got.ms < 100, `${got.ms} ms`);
      assert.deepEqual(got.again, greedy.slice(0, 3));
    });
  }

  test("leaving the loop frees the answer", async () => {
    const got = await page.evaluate(async (prompt) => {
      const model = await window.foveate.load("/golden/models/llama/", { device: "cpu" });
      const { bytes } = await model.stats();
      for await (const { id } of model.generateTokens(prompt)) if (id >= 0) break;
      const after = (await model.stats()).bytes;
      model.dispose();
      return { bytes, after };
    }, prompt);
    assert.equal(got.after, got.bytes);
  });

  test("disposing of a model during an answer throws closed", async () => {
    const got = await page.evaluate(async (prompt) => {
      const model = await window.foveate.load("/golden/models/llama/", { device: "cpu" });
      return window.thrown(async () => {
        for await (const { id } of model.generateTokens(prompt)) if (id >= 0) model.dispose();
      });
    }, prompt);
    assert.equal(got.code, "closed");
  });

  test("options that cannot be sent to a worker are refused, and the model stays usable", async () => {
    const got = await page.evaluate(async (prompt) => {
      const model = await window.foveate.load("/golden/models/llama/", { device: "cpu" });
      const first = async (options) => (await model.generateTokens(prompt, options).next()).value.id;
      const error = await window.thrown(() => first({ temperature: () => 1 }));
      const id = await first({});
      model.dispose();
      return { error, id };
    }, prompt);
    assert.ok(got.error.ours && got.error.code === "config", JSON.stringify(got.error));
    assert.equal(got.id, greedy[0]);
  });

  test("a server without ranges gives the same answer", async () => {
    serving(() => ({ ranges: false }));
    const got = await answer("/golden/models/llama/");
    assert.deepEqual(got.ids, greedy.slice(0, 4));
    assert.equal(requests.filter(({ path }) => path.endsWith("model.safetensors")).length, 1);
  });

  test("requests to a busy server are repeated", async () => {
    let busy = 2;
    serving(({ headers }) => (headers.range && busy-- > 0 ? { status: 503 } : undefined));
    assert.deepEqual((await answer("/golden/models/llama/")).ids, greedy.slice(0, 4));
  });

  test("a server that keeps failing gives a read error", async () => {
    serving(({ headers }) => (headers.range && headers.range !== "bytes=0-0" ? { status: 500 } : undefined));
    const got = await page.evaluate(() => window.thrown(() => window.foveate.load("/golden/models/llama/")));
    assert.equal(got.code, "read");
    assert.match(got.message, /model\.safetensors.*status 500/);
    serving(() => undefined);
  });

  test("missing files and files that are not models give typed errors", async () => {
    serving(() => undefined);
    const got = await page.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/golden/models/llama/model.safetensors")).arrayBuffer());
      const config = await (await fetch("/golden/models/llama/config.json")).text();
      const file = (name, ...parts) => new File(parts, name);
      const folder = (config, weights) => [file("config.json", config), file("model.safetensors", weights)];
      const other = config.replace('"llama"', '"mamba"');
      const deeper = config.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4');
      const wider = config.replace('"vocab_size": 320', '"vocab_size": 321');
      const header = bytes.slice();
      header.fill(0x20, 8, 200);
      const sources = {
        noFile: "/golden/nothing.gguf",
        noFolder: "/golden/models/nothing/",
        noise: file("noise.gguf", crypto.getRandomValues(new Uint8Array(4096))),
        empty: file("empty.gguf"),
        cut: folder(config, bytes.slice(0, bytes.length - 1000)),
        header: folder(config, header),
        noJson: folder("{", bytes),
        other: folder(other, bytes),
        deeper: folder(deeper, bytes),
        wider: folder(wider, bytes),
      };
      const codes = {};
      for (const [name, source] of Object.entries(sources)) {
        const error = await window.thrown(() => window.foveate.load(source, { device: "cpu" }));
        codes[name] = error?.ours && error.code;
      }
      return codes;
    });
    assert.deepEqual(got, {
      noFile: "read",
      noFolder: "read",
      noise: "format",
      empty: "read",
      cut: "format",
      header: "format",
      noJson: "config",
      other: "unsupported-architecture",
      deeper: "missing-tensor",
      wider: "tensor-shape",
    });
  });

  test("a damaged GGUF gives a typed error", { skip: support.skipModel }, async () => {
    const got = await page.evaluate(async (source) => {
      const blob = await (await fetch(source)).blob();
      const damage = async (at, byte) => new Blob([blob.slice(0, at), new Uint8Array([byte]), blob.slice(at + 1)]);
      const sources = { cut: blob.slice(0, 1e6), short: blob.slice(0, -1), magic: await damage(0, 0), count: await damage(15, 255) };
      const codes = {};
      for (const [name, source] of Object.entries(sources)) {
        const error = await window.thrown(() => window.foveate.load(source, { device: "cpu" }));
        codes[name] = error?.ours && error.code;
      }
      return codes;
    }, `/models/${support.smollm2}`);
    assert.deepEqual(got, { cut: "format", short: "format", magic: "format", count: "format" });
  });

  test("a GGUF file chats, and the page stays responsive", { skip: support.skipModel }, async () => {
    const { text, ids } = support.smollm2Golden().prompts[0];
    const got = await page.evaluate(
      async ({ source, text }) => {
        const file = new File([await (await fetch(source)).blob()], "model.gguf");
        const model = await window.foveate.load(file, { device: "cpu" });
        const ids = [...(await model.tokenize(text))];
        const back = await model.detokenize(ids);
        const messages = [{ role: "user", content: "Say hello." }];
        const rendered = await model.render(messages);
        let [ticks, pieces] = [0, ""];
        const timer = setInterval(() => ticks++, 10);
        const began = performance.now();
        for await (const piece of model.generate(messages, { maxTokens: 12 })) pieces += piece;
        const ms = performance.now() - began;
        clearInterval(timer);
        model.dispose();
        return { ids, back, rendered, pieces, ticks, ms };
      },
      { source: `/models/${support.smollm2}`, text },
    );
    assert.deepEqual(got.ids, ids);
    assert.equal(got.back, text);
    assert.match(got.rendered, /<\|im_start\|>user\nSay hello\.<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    assert.ok(got.pieces.length > 0);
    assert.ok(got.ticks > got.ms / 50, `${got.ticks} ticks in ${got.ms} ms`);
  });

  for (const device of ["cpu", "gpu"]) {
    test(`no task of the page is longer than 50 ms while a model loads and answers on ${device}`, { skip: support.skipModel }, async (t) => {
      const got = await page.evaluate(
        async ({ source, device }) => {
          const long = [];
          const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map(({ duration }) => duration)));
          observer.observe({ type: "longtask" });
          const gaps = [];
          let last = performance.now();
          let frame = requestAnimationFrame(function next() {
            const now = performance.now();
            gaps.push(now - last);
            last = now;
            frame = requestAnimationFrame(next);
          });
          const model = await foveate.load(source, { device });
          const loading = gaps.length;
          // A software driver takes long to read a prompt.
          const answer = device === "cpu" ? model.generate([{ role: "user", content: "Say hello." }], { maxTokens: 16 }) : model.generate("Hi", { maxTokens: 2 });
          const pieces = [];
          let step;
          while (!(step = await answer.next()).done) pieces.push(step.value);
          model.dispose();
          const settled = () => new Promise((done) => setTimeout(done, 200));
          await settled();
          cancelAnimationFrame(frame);
          const meanwhile = long.splice(0);
          // A long task on purpose: the observer must see it.
          for (const end = performance.now() + 80; performance.now() < end; );
          await settled();
          observer.disconnect();
          const { message } = step.value;
          return { meanwhile, seen: long.length, gaps, loading, pieces, message };
        },
        { source: `/models/${support.smollm2}`, device },
      );
      const sorted = got.gaps.slice().sort((a, b) => a - b);
      t.diagnostic(`${got.loading} frames while loading of ${sorted.length}, the longest ${sorted.at(-1).toFixed()} ms`);
      assert.deepEqual(got.meanwhile, []);
      assert.equal(got.seen, 1);
      // Other work of the machine may delay a few frames.
      const most = sorted[Math.floor(0.98 * sorted.length)];
      assert.ok(got.loading > 10 && most < 50, `${most} ms`);
      assert.deepEqual(got.message, { role: "assistant", content: got.pieces.join("") });
      assert.ok(got.message.content.length > 0);
    });
  }

  test("several ranges are requested at a time", { skip: support.skipModel }, async () => {
    const began = [];
    const wait = 100;
    serving(({ path, headers }) => {
      if (!path.endsWith(".gguf") || headers.range === "bytes=0-0") return undefined;
      began.push(performance.now());
      return { delay: wait };
    });
    await answer(`/models/${support.smollm2}`, { maxTokens: 1 });
    serving(() => undefined);
    const atOnce = began.map((from) => began.filter((at) => at >= from && at < from + wait).length);
    assert.ok(Math.max(...atOnce) >= 3, `${Math.max(...atOnce)} of ${began.length} at once`);
  });

  test("two models on two devices run independently at once", async () => {
    const other = support.goldenTokens("qwen2");
    const got = await page.evaluate(
      async (prompts) => {
        const load = (family, device) => foveate.load(`/golden/models/${family}/`, { device });
        const models = await Promise.all([load("llama", "cpu"), load("qwen2", "gpu"), load("llama", "gpu")]);
        const ids = async (model, prompt) => {
          const all = [];
          for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) all.push(id);
          return all;
        };
        const all = await Promise.all(models.map((model, i) => ids(model, prompts[i])));
        models[0].dispose();
        all.push(await ids(models[1], prompts[1]));
        for (const model of models.slice(1)) model.dispose();
        return all;
      },
      [prompt, other.prompt, prompt],
    );
    const [ours, theirs] = [greedy.slice(0, 4), other.greedy.slice(0, 4)];
    assert.deepEqual(got, [ours, theirs, ours, theirs]);
  });
});
