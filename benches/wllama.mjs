// Times a model in headless Chromium on the CPU, in turn with the package as `npm run build` left it in web/ and with wllama.
//
// usage: node benches/wllama.mjs FOLDER MODEL.gguf [THREADS [PAIRS [TOKENS [SENTENCES]]]]
// FOLDER has wllama: npm i --ignore-scripts @wllama/wllama
// Prompts have SENTENCES (25), answers TOKENS (32). `pages.mjs` says what is printed.

import { basename, dirname, join, resolve } from "node:path";

const [folder, file, threads = "1", pairs = "3", tokens = "32", sentences = "25"] = process.argv.slice(2);
if (!folder || !file) {
  console.error("usage: node benches/wllama.mjs FOLDER MODEL.gguf [THREADS [PAIRS [TOKENS [SENTENCES]]]]");
  process.exit(2);
}
process.env.FOVEATE_MODELS = dirname(resolve(file));
const { compare, FOVEATE } = await import("./pages.mjs");

const WLLAMA = async (source, threads) => {
  const { Wllama } = await import("/peers/@wllama/wllama/esm/index.js");
  const wllama = new Wllama({ default: "/peers/@wllama/wllama/esm/wasm/wllama.wasm" });
  await wllama.loadModelFromUrl(new URL(source, location.href).href, { n_gpu_layers: 0, n_threads: threads, n_ctx: 2048, n_batch: 512 });
  return async (prompt, max_tokens, hear) => {
    for await (const _ of await wllama.createCompletion({ prompt, max_tokens, temperature: 0, stream: true, cache_prompt: false })) hear();
  };
};

const source = `/models/${basename(file)}`;
await compare({
  pages: { foveate: { open: FOVEATE, source }, wllama: { open: WLLAMA, source } },
  peers: join(resolve(folder), "node_modules"),
  threads: Number(threads),
  pairs: Number(pairs),
  tokens: Number(tokens),
  sentences: Number(sentences),
});
