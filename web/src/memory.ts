/** Memory of the wasm that threads share, in pages of 64 KiB: the build's minimum, and 4 GiB. */
export const [LEAST, MOST] = [64, 65536];
