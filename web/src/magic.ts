/** Checks of the first bytes of a file: the format of a model, or that of another file in its place. */

import { FoveateError, type FoveateErrorReason } from "./error.js";

/** Formats that are told apart by their first bytes. */
export type Format = "gguf" | "safetensors";

const starts = (bytes: Uint8Array, ...magic: number[]) => magic.every((byte, i) => bytes[i] === byte);

/** Most bytes of a safetensors header. The length comes from a server, so it is not trusted. */
const MOST_HEADER = 100_000_000;

function isFormat(bytes: Uint8Array, format: Format): boolean {
  if (format === "gguf") return starts(bytes, 0x47, 0x47, 0x55, 0x46);
  if (bytes.length < 9) return false;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  return length > 1n && length <= BigInt(MOST_HEADER) && bytes[8] === 0x7b;
}

/** Returns `true` if a file begins like a web page. */
export const isHtml = (bytes: Uint8Array): boolean => /^\s*(<!doctype html|<html|<head|<body)/i.test(textOf(bytes));

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(0, 200)).replace(/^\uFEFF/, "");

/** Returns `true` if a file is a pointer of git-lfs. */
const isPointer = (bytes: Uint8Array) => textOf(bytes).startsWith("version https://git-lfs");

/** Advice about a web page in place of a model. */
export const WEB_PAGE = "it is a web page, not a model: check the address, and whether a network asks for a login";

/** Returns reason and explanation for a file that is often mistaken for a model; `undefined` for other files. */
function mistaken(bytes: Uint8Array): [FoveateErrorReason, string] | undefined {
  if (isHtml(bytes)) return ["html", WEB_PAGE];
  if (isPointer(bytes)) {
    return ["lfs-pointer", "it is a pointer of git-lfs, not the model: run `git lfs pull` where it was copied from, or use the address of the download"];
  }
  const compressed = starts(bytes, 0x1f, 0x8b) || starts(bytes, 0x28, 0xb5, 0x2f, 0xfd) || starts(bytes, 0x50, 0x4b, 3, 4);
  return compressed ? ["compressed", "it is compressed: unpack it first"] : undefined;
}

/**
 * Checks the first bytes of a file, at least 200 if it has so many.
 *
 * @throws {FoveateError} of code `format`, with the likely cause, or `read` if the file is empty.
 */
export function checkStart(name: string, bytes: Uint8Array, format: Format): void {
  if (isFormat(bytes, format)) return;
  // An empty file has no format.
  if (bytes.length === 0) throw new FoveateError("read", `${name} is not a model: it is empty`, { reason: "empty" });
  const [reason, why] = mistaken(bytes) ?? [undefined, `it does not begin like a ${format === "gguf" ? "GGUF" : "safetensors"} file`];
  throw new FoveateError("format", `${name} is not a model: ${why}`, { reason });
}

/**
 * Checks a small file of a model.
 *
 * @throws {FoveateError} of code `format` if it is a pointer of git-lfs.
 */
export function checkSmall(name: string, bytes: Uint8Array): void {
  if (isPointer(bytes)) throw new FoveateError("format", `${name} is damaged: ${mistaken(bytes)?.[1]}`, { reason: "lfs-pointer" });
}
