/** One thread of the CPU executor in Node.js. */

import init, { lendThread } from "../pkg/threads/foveate.js";
import { builtin } from "./glue.js";

const { parentPort, workerData } = builtin("node:worker_threads");
const { module, memory } = workerData as { module: WebAssembly.Module; memory: WebAssembly.Memory };
await init({ module_or_path: module, memory });
parentPort.postMessage("ready");
lendThread();
