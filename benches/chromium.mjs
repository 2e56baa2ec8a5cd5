// Times a model in headless Chromium, on the package as `npm run build` left it in web/.
//
// usage: node benches/chromium.mjs MODEL.gguf cpu|gpu [PROMPT_TOKENS [TOKENS [THREADS]]]
// Prints one JSON object; prefill is the prompt over the time to the first token. With one thread, as by default, the page is
// not isolated.

import { basename, dirname, resolve } from "node:path";

const [file, device, prompt = "230", tokens = "16", threads = "1"] = process.argv.slice(2);
if (!file || !["cpu", "gpu"].includes(device)) {
  console.error("usage: node benches/chromium.mjs MODEL.gguf cpu|gpu [PROMPT_TOKENS [TOKENS [THREADS]]]");
  process.exit(2);
}
process.env.FOVEATE_MODELS = dirname(resolve(file));
const support = await import("../web/test/support.mjs");
const [browser, server] = await Promise.all([support.launch(), support.serveAll(() => ({ isolated: threads > 1 }))]);
try {
  const page = await support.blank(browser, server.url);
  // Any tokens: what they say costs nothing.
  const ids = Array.from({ length: Number(prompt) }, (_, i) => 100 + ((i * 37) % 2000));
  const options = { maxTokens: Number(tokens) };
  const asked = [`/models/${basename(file)}`, { device, threads: Number(threads) }, ids, options];
  const { device: name, firstMs, rate } = await page.evaluate((asked) => window.answer(...asked), asked);
  const report = { device: name, prompt: ids.length, prefill_tok_s: (ids.length / firstMs) * 1e3, decode_tok_s: rate };
  console.log(JSON.stringify(report));
} finally {
  await Promise.all([browser.close(), server.close()]);
}
