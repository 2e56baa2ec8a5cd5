// The JavaScript in web/README.md and in the root README.md: every block is type-checked, and run with a small model.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import * as foveate from "../dist/index.js";
import * as support from "./support.mjs";
import { talking, TOOLS } from "./talking.mjs";

const web = fileURLToPath(new URL("..", import.meta.url));

/** Returns the blocks of a Markdown file in JavaScript or TypeScript, named by the words above them. */
function blocks(path) {
  const text = readFileSync(join(web, path), "utf8");
  return [...text.matchAll(/^```(?:js|ts)\n(.*?)^```$/gms)].map(({ 1: code, index }) => {
    const above = text.slice(0, index).trimEnd().split("\n\n").pop().replace(/^#+ /, "").replaceAll("\n", " ");
    return { name: `${path}: ${above.split(/[.:;(]/)[0]}`, code };
  });
}

const all = [...blocks("README.md"), ...blocks("../README.md")];

/** Types of the names that blocks use and a reader's page or an earlier block defines. */
const TYPES = {
  model: 'import("foveate").Model',
  session: 'import("foveate").Session',
  gpu: 'import("foveate").Device',
  q: 'import("foveate").Tensor',
  k: 'import("foveate").Tensor',
  v: 'import("foveate").Tensor',
  question: "string",
  prompt: "string",
  page: "HTMLElement",
  first: "HTMLElement",
  second: "HTMLElement",
  stop: "HTMLButtonElement",
  myCoprocessor: "(keys: Float32Array, positions: Uint32Array, width: number) => Float32Array",
  upload: '(device: GPUDevice, data: import("foveate").TensorData) => GPUBuffer',
  nextPass: "(device: GPUDevice, buffer: GPUBuffer) => void",
};

/** Modules that blocks import, and their types. */
const MODULES = {
  foveate: "dist/index.d.ts",
  "foveate/openai": "dist/openai/client.d.ts",
  "foveate/ai-sdk": "dist/ai-sdk.d.ts",
  "foveate/prompt-api": "dist/prompt-api.d.ts",
  ai: "node_modules/ai/dist/index.d.ts",
  openai: "node_modules/openai/index.d.mts",
};

const IMPORT = /^import (\{.*\}|\w+) from ["'](foveate(?:\/[\w-]+)?|ai|openai)["'];$/gm;

test("both READMEs have JavaScript", () => {
  assert.ok(all.length > 10, `${all.length} blocks`);
  for (const path of ["README.md", "../README.md"]) assert.ok(all.some(({ name }) => name.startsWith(`${path}: `)), path);
  for (const { name, code } of all) assert.doesNotMatch(code.replaceAll(IMPORT, ""), /^import /m, name);
});

test("the blocks of the READMEs fit the types of the package", () => {
  const folder = mkdtempSync(join(tmpdir(), "readme-"));
  try {
    const parameters = Object.entries(TYPES).map(([name, type]) => `@param {${type}} ${name}`);
    const files = all.map(({ code }, i) => {
      const imports = (code.match(IMPORT) ?? []).join("\n");
      // The inner braces let a block define a name that is also a parameter.
      const body = `async (${Object.keys(TYPES)}) => {{\n${code.replaceAll(IMPORT, "")}}}`;
      writeFileSync(join(folder, `block${i}.js`), `${imports}\n/**\n * ${parameters.join("\n * ")}\n */\nexport default ${body};\n`);
      return `block${i}.js`;
    });
    const compilerOptions = {
      allowJs: true,
      checkJs: true,
      noEmit: true,
      module: "NodeNext",
      target: "ES2022",
      lib: ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
      types: [],
      strict: false,
      skipLibCheck: true,
      paths: Object.fromEntries(Object.entries(MODULES).map(([name, path]) => [name, [join(web, path)]])),
    };
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
    const tsc = join(web, "node_modules/typescript/bin/tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, "--project", folder], { encoding: "utf8" });
    const names = stdout.replaceAll(/block(\d+)\.js/g, (_, i) => all[i].name);
    assert.equal(status, 0, names);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const AsyncFunction = (async () => {}).constructor;

/** Returns a block as the body of a function with a parameter `modules`, which are imported. */
const bodyOf = (code) => {
  const named = code.replaceAll(IMPORT, (_, names, from) => `const ${names} = modules["${from}"]${names.startsWith("{") ? "" : ".default"};`);
  return `{ ${named} }`;
};

const needsGpu = ({ code }) => code.includes("navigator.gpu");

describe("the blocks of the READMEs run in Node.js", () => {
  let model, cpu, values;
  let texts, logged;

  const element = () => ({ append: (text) => texts.push(text) });

  before(async () => {
    model = await foveate.load(talking(TOOLS, ["delta", "routing", "attention"]));
    cpu = await foveate.device("cpu");
    const golden = support.skipGolden ? [] : support.goldenOps().slice(0, 1);
    const tensor = (shape) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5) });
    values = {
      modules: {
        foveate: {
          ...foveate,
          load: (_, options) => foveate.load(talking(TOOLS), options),
          tokenizer: () => foveate.tokenizer(talking(TOOLS)),
          device: (kind) => foveate.device(kind === "gpu" ? "cpu" : kind),
        },
        "foveate/openai": await import("../dist/openai/client.js"),
        "foveate/ai-sdk": await import("../dist/ai-sdk.js"),
        "foveate/prompt-api": await import("../dist/prompt-api.js"),
        ai: await import("ai"),
        openai: await import("openai"),
      },
      console: { log: (...args) => logged.push(args) },
      document: { body: element() },
      model,
      gpu: {
        check: async () => (await Promise.all(golden.map((name) => cpu.check(new Blob([support.goldenFile(`ops/${name}`)]))))).flat(),
        selfTest: () => cpu.selfTest((name) => name.startsWith("merge/")),
        plan: (op, settings) => cpu.plan(op, settings),
      },
      q: tensor([1, 8, 4, 16]),
      k: tensor([1, 8, 2, 16]),
      v: tensor([1, 8, 2, 16]),
      question: "Who was Ada Lovelace?",
      prompt: "Once upon a time",
      page: element(),
      first: element(),
      second: element(),
      stop: {},
      myCoprocessor: (_keys, _positions, width) => new Float32Array(2 * width).fill(0.1),
    };
  });

  after(() => {
    model?.dispose();
    cpu?.dispose();
  });

  for (const block of all) {
    test(block.name, { skip: needsGpu(block) && "it needs WebGPU" }, async () => {
      [texts, logged] = [[], []];
      const session = await model.session({ context: 1024 });
      await session.append("Once upon a time");
      const named = { ...values, session };
      try {
        await new AsyncFunction(...Object.keys(named), bodyOf(block.code))(...Object.values(named));
      } finally {
        session.dispose();
      }
      assert.ok(texts.length + logged.length > 0, "it shows something");
      assert.ok(texts.every((text) => typeof text === "string"), JSON.stringify(texts));
      assert.ok(logged.flat().every((value) => value !== undefined && !Number.isNaN(value)), JSON.stringify(logged));
    });
  }
});

support.inChromium("the blocks of the READMEs that need WebGPU", support.skipBrowser, ({ page }) => {
  for (const block of all.filter(needsGpu)) {
    test(block.name, async () => {
      const logged = await page.evaluate(async (body) => {
        const logged = [];
        const upload = (own, data) => {
          const buffer = own.createBuffer({ size: data.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
          own.queue.writeBuffer(buffer, 0, data);
          return buffer;
        };
        const tensor = (...shape) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5) });
        const named = {
          modules: { foveate },
          upload,
          nextPass: (_, buffer) => logged.push(buffer instanceof GPUBuffer),
          console: { log: (data) => logged.push(data.length, data.every((x) => Math.abs(x - 0.5) < 1e-5)) },
          ...{ q: tensor(1, 8, 4, 16), k: tensor(1, 8, 2, 16), v: tensor(1, 8, 2, 16) },
        };
        const AsyncFunction = (async () => {}).constructor;
        await new AsyncFunction(...Object.keys(named), body)(...Object.values(named));
        return logged;
      }, bodyOf(block.code));
      assert.deepEqual(logged, [true, 8 * 4 * 16, true]);
    });
  }
});
