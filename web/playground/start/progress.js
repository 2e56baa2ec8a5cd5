// The progress of loading, in words.

import { size } from "../lib/format.js";

/** Describes what loading is doing. `progress` is that of the package. */
export function phase({ loadedBytes, totalBytes, compiledPipelines, totalPipelines, fetchedBytes }) {
  const compiling = totalPipelines > 0 && compiledPipelines < totalPipelines;
  if (loadedBytes < totalBytes) {
    const verb = fetchedBytes > 0 ? "Downloading" : "Reading";
    const beside = compiling ? `, compiling kernels ${compiledPipelines} of ${totalPipelines}` : "";
    return `${verb} ${size(loadedBytes)} of ${size(totalBytes)}${beside}`;
  }
  if (compiling) return `Compiling kernels ${compiledPipelines} of ${totalPipelines}`;
  return "Preparing";
}
