/** One thread of the CPU executor. */

import init, { lendThread } from "../pkg/threads/foveate.js";

addEventListener("message", async ({ data }: MessageEvent<{ module: WebAssembly.Module; memory: WebAssembly.Memory }>) => {
  try {
    await init({ module_or_path: data.module, memory: data.memory });
  } catch (error) {
    // An unhandled rejection of this listener would not reach the parent worker.
    return reportError(error);
  }
  postMessage("ready");
  lendThread();
});

postMessage("loaded");
