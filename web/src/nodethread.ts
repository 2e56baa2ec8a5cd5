/** One thread of the CPU executor in Node.js. */

import init, { lendThread } from "../pkg/foveate.js";
import type { SharedWasm } from "./glue.js";
import { builtin } from "./modules.js";

const { parentPort, workerData } = builtin("node:worker_threads");
const { module, memory } = workerData as SharedWasm;
await init({ module_or_path: module, memory });
parentPort.postMessage("ready");
lendThread();
