/** One thread of the CPU executor. */

import init, { lendThread } from "../pkg/foveate.js";
import type { SharedWasm } from "./glue.js";

addEventListener("message", async ({ data }: MessageEvent<SharedWasm>) => {
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
