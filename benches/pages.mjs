// Times packages in headless Chromium on the CPU, in turn, each on its own page. `transformers.mjs` and `wllama.mjs` use it.
//
// A run prints one JSON object: the load from the browser's own cache (the second one of a page, after a reload); the time to the
// first token and the rate of the next ones for two prompts; bytes of the model's files; scripts and wasm, gzipped; and the
// resident memory of the page's process after the answers.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as support from "../web/test/support.mjs";

const web = fileURLToPath(new URL("../web", import.meta.url));

/** The page of this package: `load` returns a function that generates, and calls back with each token. */
export const FOVEATE = async (source, threads) => {
  const { load } = await import("/dist/index.js");
  const model = await load(source, { device: "cpu", threads });
  return async (prompt, maxTokens, hear) => {
    for await (const _ of model.generateTokens(prompt, { maxTokens })) hear();
  };
};

/** Runs in a page: loads, and answers two prompts if `measure`. */
async function visited({ open, source, threads, text, tokens, measure }) {
  const began = performance.now();
  const generate = await new Function(`return ${open}`)()(source, threads);
  const load_ms = performance.now() - began;
  if (!measure) return undefined;
  const runs = [];
  for (const tail of ["So", "And"]) {
    const [asked, times] = [performance.now(), []];
    await generate(text + tail, tokens, () => times.push(performance.now() - asked));
    runs.push({ first_token_ms: times[0], decode_tok_s: ((times.length - 1) / (times.at(-1) - times[0])) * 1e3 });
  }
  return { load_ms, runs };
}

/**
 * Compares pages, `{ name: { open, source } }`. `peers` is the `node_modules` of the other packages, served at `/peers/`, and
 * `mounts` are folders of models.
 */
export async function compare({ pages, peers, mounts = {}, threads, pairs, tokens, sentences }) {
  const text = "The quick brown fox jumps over the lazy dog. ".repeat(sentences);
  const folders = { "/peers/": peers, "/models/": support.models, ...mounts };
  const requested = new Set();
  const server = await support.serveAll(({ path }) => (requested.add(path), { isolated: true }), folders);
  const located = (path) => {
    const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    return prefix ? join(folders[prefix], path.slice(prefix.length)) : join(web, path);
  };
  const sum = (paths, bytes) => paths.reduce((all, path) => all + bytes(located(path)), 0);
  const isCode = (path) => /\.(m?js|wasm)$/.test(path);
  const isModel = (path) => path.startsWith("/models/") || Object.keys(mounts).some((prefix) => path.startsWith(prefix));

  const run = async (name) => {
    const browser = await support.launch();
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      page.on("pageerror", (error) => console.error(`${name}: ${error}`));
      const visit = async (measure) => {
        requested.clear();
        await page.goto(`${server.url}/test/support.mjs`);
        await page.setContent('<link rel="icon" href="data:,">');
        const { open, source } = pages[name];
        const measured = await page.evaluate(visited, { open: String(open), source, threads, text, tokens, measure });
        return { ...measured, paths: [...requested] };
      };
      const first = await visit(false);
      const { paths, ...measured } = await visit(true);
      const exists = (path) => statSync(located(path), { throwIfNoEntry: false })?.isFile();
      const model_bytes = sum(first.paths.filter((path) => isModel(path) && exists(path)), (path) => statSync(path).size);
      const code = [...new Set([...first.paths, ...paths])].filter((path) => isCode(path) && !isModel(path) && path !== "/test/support.mjs");
      const code_gzipped = sum(code.filter(exists), (path) => gzipSync(readFileSync(path), { level: 9 }).length);
      const resident_mb = Math.round((await support.resident(browser, "renderer")) / 1e6);
      return { name, threads, ...measured, model_bytes, code_gzipped, resident_mb };
    } finally {
      await browser.close();
    }
  };

  try {
    for (let pair = 0; pair < pairs; pair++) {
      for (const name of Object.keys(pages)) console.log(JSON.stringify(await run(name)));
    }
  } finally {
    await server.close();
  }
}
