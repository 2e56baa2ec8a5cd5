// Constraints: answers of small models that always have the form that was asked for.

import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { after, before, describe, test } from "node:test";
import { load } from "../dist/index.js";
import * as support from "./support.mjs";
import { PLAIN, talking, THINKING } from "./talking.mjs";

/** Ten schemas, and whether a value is valid by them. Their answers are short, so that they end. */
const SCHEMAS = [
  [{ type: "boolean" }, (v) => typeof v === "boolean"],
  [{ type: "integer", minimum: 5, maximum: 70 }, (v) => Number.isInteger(v) && v >= 5 && v <= 70],
  [{ enum: ["red", "green", 3, null] }, (v) => ["red", "green", 3, null].includes(v)],
  [{ type: "string", maxLength: 6 }, (v) => typeof v === "string" && [...v].length <= 6],
  [{ type: "string", pattern: "^[a-c]{2,4}$" }, (v) => /^[a-c]{2,4}$/.test(v)],
  [{ type: "array", items: { type: "boolean" }, minItems: 1, maxItems: 3 }, (v) => Array.isArray(v) && v.length >= 1 && v.length <= 3 && v.every((x) => typeof x === "boolean")],
  [
    { type: "object", properties: { name: { type: "string", maxLength: 4 }, age: { type: "integer", minimum: 0, maximum: 120 } }, required: ["name", "age"], additionalProperties: false },
    (v) => Object.keys(v).join() === "name,age" && v.name.length <= 4 && v.age >= 0 && v.age <= 120,
  ],
  [
    { type: "object", properties: { kind: { const: "point" }, at: { type: "array", prefixItems: [{ enum: [0, 1] }, { enum: [2, 3] }], items: false, minItems: 2 } }, required: ["kind", "at"], additionalProperties: false },
    (v) => v.kind === "point" && v.at.length === 2 && v.at[0] < 2 && v.at[1] > 1,
  ],
  [{ anyOf: [{ type: "null" }, { type: "array", items: { enum: [7] }, maxItems: 2 }] }, (v) => v === null || v.every((x) => x === 7)],
  [
    { $ref: "#/$defs/node", $defs: { node: { type: "object", properties: { leaf: { type: "boolean" }, next: { enum: [null] } }, required: ["leaf", "next"], additionalProperties: false } } },
    (v) => typeof v.leaf === "boolean" && v.next === null,
  ],
];

describe("constraints in Node.js", () => {
  let model;

  before(async () => (model = await load(talking(PLAIN))));
  after(() => model?.dispose());

  test("ten schemas are valid, for the likeliest tokens and for drawn ones", async () => {
    for (const [jsonSchema, valid] of SCHEMAS) {
      for (const temperature of [0, 1.5]) {
        const { text, finishReason } = await model.generate("An object: ", { jsonSchema, temperature, seed: 4, maxTokens: 400 }).result();
        assert.equal(finishReason, "stop", `${JSON.stringify(jsonSchema)}: ${text}`);
        assert.ok(valid(JSON.parse(text)), `${JSON.stringify(jsonSchema)}: ${text}`);
      }
    }
  });

  test("expressions, grammars, choices and JSON", async () => {
    const answer = async (options) => (await model.generate("Say ", { temperature: 1, seed: 2, maxTokens: 300, ...options }).result()).text;
    assert.match(await answer({ regex: "[0-9]{3}-(a|b)+c" }), /^[0-9]{3}-[ab]+c$/);
    assert.match(await answer({ regex: /^\d{2}[\d\w]\/x$/ }), /^\d{2}\w\/x$/);
    assert.match(await answer({ regex: /yes|no/i }), /^(yes|no)$/i);
    assert.match(await answer({ grammar: 'root ::= "a" ("b" | "c") "d"' }), /^a[bc]d$/);
    assert.match(await answer({ grammar: 'start: "x" /[0-9]/' }), /^x[0-9]$/);
    assert.ok(["left", "right"].includes(await answer({ choices: ["left", "right"] })));
    const { text, finishReason } = await model.generate("{", { jsonMode: true, maxTokens: 20 }).result();
    assert.ok(text.startsWith("{") && (finishReason === "length" || JSON.parse(text)), text);
  });

  test("wrong constraints are typed errors, and the next answer is right", async () => {
    const ask = (options) => model.generate("Say ", { maxTokens: 20, ...options }).result();
    await assert.rejects(ask({ jsonSchema: { type: "nonsense" } }), { code: "config" });
    await assert.rejects(ask({ jsonSchema: 5 }), { code: "config" });
    await assert.rejects(ask({ jsonSchema: { not: { type: "string" } } }), { code: "config" });
    await assert.rejects(ask({ regex: "(" }), { code: "config" });
    await assert.rejects(ask({ regex: "(((a{1000}){1000}){1000})" }), { code: "config" });
    await assert.rejects(ask({ grammar: "start: undefined_rule" }), { code: "config" });
    await assert.rejects(ask({ choices: [] }), { code: "config" });
    await assert.rejects(ask({ choices: ["a"], jsonMode: true }), { code: "config", message: /exclude each other/ });
    const nested = (levels) => (levels > 0 ? { type: "array", items: nested(levels - 1) } : { type: "integer" });
    await assert.rejects(ask({ jsonSchema: nested(100) }), { code: "config", message: /levels/ });
    assert.match((await ask({ jsonSchema: nested(95), maxTokens: 3 })).text, /^\[/);
    assert.equal((await ask({ choices: ["right"] })).text, "right");
  });

  test("constraints work in sessions and chats, with log-probabilities, and behind reasoning", async () => {
    const session = await model.session();
    await session.append("Is it? ");
    assert.ok(["yes", "no"].includes((await session.generate({ choices: ["yes", "no"] }).result()).text));
    session.dispose();
    const chat = await model.chat();
    const tokens = [];
    const answer = chat.sendEvents("Is it?", { choices: ["yes", "no"], logprobs: 2 });
    for await (const event of answer) if (event.type === "token") tokens.push(event);
    const { text } = await answer.result();
    assert.ok(["yes", "no"].includes(text));
    assert.equal(tokens.map((token) => token.text).join(""), text);
    assert.ok(tokens.every(({ score }) => score.topLogprobs.length === 2));
    chat.dispose();
    const thinking = await load(talking(THINKING));
    const messages = [{ role: "user", content: "Think." }];
    const thought = await thinking.generate(messages, { reasoningBudget: 5, choices: ["yes", "no"], maxTokens: 60 }).result();
    assert.ok(thought.reasoning.length > 0 && ["yes", "no"].includes(thought.text.trim()), JSON.stringify(thought));
    thinking.dispose();
  });
});

test("SmolLM2 gives the tokens that the command line gives", { skip: support.skipModel }, async () => {
  const model = await load(await openAsBlob(support.modelPath(support.smollm2)));
  const ids = async (prompt, options) => {
    const ids = [];
    for await (const { id } of model.generateTokens(prompt, { maxTokens: 80, ...options })) ids.push(id);
    return ids;
  };
  const jsonSchema = {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 12 },
      age: { type: "integer", minimum: 0, maximum: 120 },
      tags: { type: "array", items: { enum: ["a", "b"] }, maxItems: 2 },
    },
    required: ["name", "age", "tags"],
    additionalProperties: false,
  };
  // foveate generate "A person: " --json-schema FILE, and "Today is " --regex .., with --json
  const person = [39428, 1245, 1799, 476, 9682, 1002, 476, 473, 1799, 216, 35, 32, 28, 476, 15951, 1799, 9523, 81, 1002, 476, 82, 3222, 109];
  assert.deepEqual(await ids("A person: ", { jsonSchema }), person);
  assert.deepEqual(await ids("Today is ", { regex: "[0-9]{4}-[01][0-9]-[0-3][0-9]" }), [33, 32, 32, 32, 29, 33, 32, 29, 33, 32]);
  model.dispose();
});

support.inChromium("constraints in Chromium", support.skipBrowser || support.skipModel, ({ page, requests }) => {
  test("SmolLM2 answers by ten schemas, and the parser is loaded with the first one", async () => {
    const schemas = SCHEMAS.map(([schema]) => schema);
    const answers = await page.evaluate(
      async ({ schemas, file }) => {
        const model = await window.foveate.load(`/models/${file}`, { device: "cpu" });
        const answers = [(await model.generate("Hi", { maxTokens: 1 }).result()).finishReason];
        for (const jsonSchema of schemas) {
          const messages = [{ role: "user", content: `Answer in JSON by this schema: ${JSON.stringify(jsonSchema)}` }];
          answers.push(await model.generate(messages, { jsonSchema, maxTokens: 120 }).result());
        }
        model.dispose();
        return answers;
      },
      { schemas, file: support.smollm2 },
    );
    const loaded = requests.map(({ path }) => path).filter((path) => path.endsWith("constrain/foveate_bg.wasm"));
    assert.equal(loaded.length, 1);
    SCHEMAS.forEach(([schema, valid], i) => {
      const { text, finishReason } = answers[i + 1];
      assert.equal(finishReason, "stop", `${JSON.stringify(schema)}: ${text}`);
      assert.ok(valid(JSON.parse(text)), `${JSON.stringify(schema)}: ${text}`);
    });
  });
});
