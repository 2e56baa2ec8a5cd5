// The error codes and reasons in web/README.md, and the checks of options.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { checkStart } from "../dist/magic.js";
import { checkOptions } from "../dist/options.js";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");

/** Returns the members of a type of `src/error.ts` with their comments. */
function members(type) {
  const source = read("../src/error.ts");
  const [body] = source.slice(source.indexOf(`export type ${type} =`)).split(";\n");
  return [...body.matchAll(/\/\*\* (.+) \*\/\n\s*\| "([\w-]+)"/g)].map(([, meaning, name]) => [name, meaning]);
}

/** Returns the rows of a table in `README.md`, by its first header. */
function rows(header) {
  const readme = read("../README.md");
  const [table] = readme.slice(readme.indexOf(`| ${header} |`)).split("\n\n");
  return [...table.matchAll(/^\| `([\w-]+)` \| (.+) \|$/gm)].map(([, name, meaning]) => [name, meaning]).slice(1);
}

for (const [type, header] of [["FoveateErrorCode", "`code`"], ["FoveateErrorReason", "`reason`"]]) {
  test(`the README lists each ${type} with its meaning`, () => {
    const wanted = members(type);
    assert.ok(wanted.length > 15, `${wanted.length}`);
    assert.deepEqual(rows(header), wanted);
  });
}

test("every code and reason that the sources use is a member of its type", () => {
  const names = members("FoveateErrorReason").map(([name]) => name);
  const used = ["cause", "glue", "magic", "request", "start", "files"].flatMap((file) =>
    [...read(`../src/${file}.ts`).matchAll(/reason: "([\w-]+)"|return \["([\w-]+)"/g)].map(([, a, b]) => a ?? b),
  );
  assert.ok(used.length > 10);
  assert.deepEqual([...new Set(used)].filter((name) => !names.includes(name)), []);
});

test("the first bytes of a file tell models from what is mistaken for one", () => {
  const header = new Uint8Array(16);
  new DataView(header.buffer).setBigUint64(0, 8n, true);
  header[8] = 0x7b;
  checkStart("a.gguf", new TextEncoder().encode("GGUF\x03"), "gguf");
  checkStart("a.safetensors", header, "safetensors");
  const text = (text) => new TextEncoder().encode(text);
  for (const [bytes, reason] of [
    [text(""), "empty"],
    [text("\uFEFF \n<!DOCTYPE HTML><html>"), "html"],
    [text("version https://git-lfs.github.com/spec/v1\n"), "lfs-pointer"],
    [Uint8Array.of(0x1f, 0x8b, 8, 0), "compressed"],
    [text("PK\x03\x04"), "compressed"],
    [text("GGU"), undefined],
    [header.map((byte, i) => (i === 4 ? 255 : byte)), undefined],
  ]) {
    for (const format of ["gguf", "safetensors"]) {
      if (format === "gguf" && bytes === header) continue;
      assert.throws(() => checkStart("a", bytes, format), { name: "FoveateError", code: reason === "empty" ? "read" : "format", reason }, JSON.stringify([...bytes]));
    }
  }
});

test("unknown options are errors that name the nearest", () => {
  const names = { device: true, onProgress: true, threads: true };
  checkOptions("load", { device: "cpu", other: undefined }, names);
  assert.throws(() => checkOptions("load", { Device: "cpu" }, names), { code: "config", message: "load has no option Device: did you mean device?" });
  assert.throws(() => checkOptions("load", { thread: 2 }, names), { message: "load has no option thread: did you mean threads?" });
  assert.throws(() => checkOptions("load", { zebra: 2 }, names), { message: "load has no option zebra: its options are device, onProgress, threads" });
  for (const options of [null, 5, "cpu"]) assert.throws(() => checkOptions("load", options, names), { code: "config", message: /^the options of load must be an object, got / });
});
