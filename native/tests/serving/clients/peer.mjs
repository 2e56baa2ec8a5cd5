// llama.cpp (npm node-llama-cpp, prebuilt, CPU) behind as much of OpenAI's interface as load.py asks for: streamed, greedy
// completions of a prompt of tokens, a sequence for each request, all in one batch.
//
// usage: node peer.mjs NODE_MODULES MODEL.gguf SEQUENCES CONTEXT

import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, modelPath, sequences, contextSize] = process.argv.slice(2);
const { getLlama } = await import(pathToFileURL(resolve(join(modules, "node-llama-cpp/dist/index.js"))));
const threads = 2;
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: threads });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: +contextSize, sequences: +sequences, threads, batchSize: 512 });
const free = Array.from({ length: +sequences }, () => context.getSequence());
let requests = 0;

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const { prompt, max_tokens } = JSON.parse(body);
  const sequence = free.pop();
  const id = `cmpl-${requests++}`;
  const chunk = (text, finish_reason) =>
    response.write(`data: ${JSON.stringify({ id, choices: [{ index: 0, text, finish_reason }] })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  let count = 0;
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    chunk(model.detokenize([token]), null);
    if (++count >= max_tokens) break;
  }
  await sequence.clearHistory();
  free.push(sequence);
  chunk("", "length");
  response.end("data: [DONE]\n\n");
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
