// Times a model in headless Chromium on the CPU, in turn with the package as `npm run build` left it in web/ and with
// transformers.js, which runs onnxruntime-web.
//
// usage: node benches/transformers.mjs FOLDER MODEL.gguf ONNX [DTYPES [THREADS [PAIRS [TOKENS [SENTENCES]]]]]
// FOLDER has transformers.js: npm i --ignore-scripts @huggingface/transformers
// ONNX is what smollm2_onnx.py wrote of the same GGUF file; DTYPES are among its files: q4,q8
// Prompts have SENTENCES (25), answers TOKENS (32). `pages.mjs` says what is printed.

import { basename, dirname, join, resolve } from "node:path";

const [folder, file, onnx, dtypes = "q4,q8", threads = "1", pairs = "3", tokens = "32", sentences = "25"] = process.argv.slice(2);
if (!folder || !file || !onnx) {
  console.error("usage: node benches/transformers.mjs FOLDER MODEL.gguf ONNX [DTYPES [THREADS [PAIRS [TOKENS [SENTENCES]]]]]");
  process.exit(2);
}
process.env.FOVEATE_MODELS = dirname(resolve(file));
const { compare, FOVEATE } = await import("./pages.mjs");

const TRANSFORMERS = async (dtype, threads) => {
  const { env, pipeline, TextStreamer } = await import("/peers/@huggingface/transformers/dist/transformers.min.js");
  const wasm = new URL("/peers/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify", location.href).href;
  Object.assign(env.backends.onnx.wasm, { numThreads: threads, wasmPaths: { mjs: `${wasm}.mjs`, wasm: `${wasm}.wasm` } });
  // The browser's cache keeps files of a remote host only.
  Object.assign(env, { allowLocalModels: false, remoteHost: location.origin, remotePathTemplate: "{model}/" });
  const generator = await pipeline("text-generation", "onnx", { device: "wasm", dtype });
  return async (prompt, max_new_tokens, hear) => {
    const streamer = new TextStreamer(generator.tokenizer, { skip_prompt: true, callback_function: () => {}, token_callback_function: hear });
    await generator(prompt, { max_new_tokens, do_sample: false, streamer });
  };
};

const theirs = dtypes.split(",").map((dtype) => [`transformers.js ${dtype}`, { open: TRANSFORMERS, source: dtype }]);
await compare({
  pages: { foveate: { open: FOVEATE, source: `/models/${basename(file)}` }, ...Object.fromEntries(theirs) },
  peers: join(resolve(folder), "node_modules"),
  mounts: { "/onnx/": resolve(onnx) },
  threads: Number(threads),
  pairs: Number(pairs),
  tokens: Number(tokens),
  sentences: Number(sentences),
});
