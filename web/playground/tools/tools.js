// The page of JSON and tools: a form that is filled from a text, and a question that is answered with functions.

import { cache, load } from "foveate";
import { $, described, element } from "../lib/dom.js";
import { count, size } from "../lib/format.js";
import { kept } from "../lib/storage.js";
import { MODELS, nameOf } from "../start/catalog.js";
import { entryOf } from "../start/picker.js";
import { phase } from "../start/progress.js";
import { call, TOOLS } from "./functions.js";

const TEXT = "Hello, this is Maria Lopez. I would like a table for 4 people on Friday, for dinner. Nobody of us eats meat.";
const SCHEMA = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 40 },
    guests: { type: "integer", minimum: 1, maximum: 20 },
    day: { enum: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] },
    meal: { enum: ["breakfast", "lunch", "dinner"] },
    vegetarian: { type: "boolean" },
  },
  required: ["name", "guests", "day", "meal", "vegetarian"],
  additionalProperties: false,
};
const QUESTION = "How many times does the letter r occur in the word strawberry?";

/** The card of the smallest model that calls functions. */
const SUGGESTED = "qwen3-0.6b";

/** Maximum number of answers to one question: a small model may call functions again and again. */
const ROUNDS = 4;

/** Tokens that the conversation with tools can hold: their descriptions take some hundred. */
const CONTEXT = 2048;

const wanted = new URLSearchParams(location.search);
let model;
/** Aborts what runs: loading or an answer. */
let running;

function fail(id, error) {
  $(id).textContent = error ? described(error) : "";
  $(id).hidden = !error;
}

/** Runs `work(signal)`. Meanwhile, `stop` takes the place of `start`; only one thing runs at a time. */
async function run({ start, stop, says, error }, work) {
  const mine = new AbortController();
  running = mine;
  fail(error);
  const focused = document.activeElement === $(start);
  update();
  [$(start).hidden, $(stop).hidden] = [true, false];
  if (focused) $(stop).focus();
  $(stop).onclick = () => mine.abort();
  try {
    await work(mine.signal);
  } catch (reason) {
    const stopped = mine.signal.aborted;
    $(says).textContent = stopped ? "Stopped." : "";
    if (!stopped) fail(error, reason);
  } finally {
    running = undefined;
    const back = document.activeElement === $(stop);
    [$(start).hidden, $(stop).hidden] = [false, true];
    update();
    if (back) $(start).focus();
  }
}

function update() {
  $("load").disabled = Boolean(running);
  for (const id of ["fill", "send"]) $(id).disabled = !model || Boolean(running);
}

async function open(signal) {
  const { name, source } = entryOf($("model").value);
  $("progress").hidden = false;
  try {
    const opened = await load(source, {
      device: wanted.get("device") ?? "auto",
      signal,
      onProgress: (progress) => {
        $("progress").value = progress.totalBytes ? progress.loadedBytes / progress.totalBytes : 0;
        $("model-says").textContent = `${name}: ${phase(progress)}`;
      },
    });
    // The loaded model stays until the new one is ready.
    model?.dispose();
    model = opened;
    $("model-says").textContent = `${name} is ready, on ${model.device}.`;
  } finally {
    $("progress").hidden = true;
  }
}

/** Shows the fields of an answer. */
function show(values) {
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
  const rows = Object.entries(values).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: text(value), dir: "auto" })]);
  $("values").replaceChildren(...rows);
  $("values").hidden = rows.length === 0;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The schema is not JSON: ${error.message}`);
  }
}

async function fill(signal) {
  const jsonSchema = parsed($("schema").value);
  $("values").hidden = true;
  $("json-details").hidden = false;
  $("json").textContent = "";
  $("json-says").textContent = "Reading the text…";
  const keys = Object.keys(jsonSchema.properties ?? {}).join(", ");
  const messages = [
    { role: "system", content: `Extract a JSON object from the text${keys ? ` with the keys ${keys}` : ""}.` },
    { role: "user", content: $("text").value },
  ];
  const answer = model.generate(messages, { jsonSchema, maxTokens: 300, thinking: false, signal });
  for await (const piece of answer) $("json").append(piece);
  const { text, finishReason, usage } = await answer.result();
  if (finishReason !== "stop") throw new Error(`The answer was cut off after ${count(usage.completionTokens, "token")}: shorten the text or the schema`);
  show(JSON.parse(text));
  $("json-says").textContent = `The answer follows the schema. ${count(usage.completionTokens, "token")} generated. A small model may still be wrong: please check.`;
}

/** Adds a message to the list, and returns the element of its text. */
function said(who, text) {
  const body = element("span", { className: "said-text", textContent: text, dir: "auto" });
  $("log").append(element("li", {}, element("strong", { textContent: who }), " ", body));
  return body;
}

async function ask(signal) {
  $("log").replaceChildren();
  const says = (text) => ($("tools-says").textContent = text);
  says("Reading the question and the functions…");
  const chat = await model.chat({ tools: TOOLS, thinking: false, maxTokens: 300, context: Math.min(CONTEXT, model.context), signal });
  try {
    said("You", $("question").value);
    let message = $("question").value;
    for (let round = 0; round < ROUNDS; round++) {
      const toolChoice = round === 0 ? $("choice").value : "strict";
      const answer = chat.sendEvents(message, { toolChoice, signal });
      let body;
      for await (const event of answer) {
        if (event.type !== "text") continue;
        body ??= said("Model", "");
        body.append(event.text);
      }
      const { toolCalls, finishReason } = await answer.result();
      if (finishReason !== "tool_calls") return says(finishReason === "length" ? "The answer was cut off." : "Done.");
      message = toolCalls.map((asked) => {
        said("Model calls", `${asked.name}(${JSON.stringify(asked.arguments)})`);
        const content = call(asked);
        said("This page returns", content);
        return { role: "tool", tool_call_id: asked.id, name: asked.name, content };
      });
      says("Reading the result…");
    }
    says(`Stopped after ${ROUNDS} answers: the model went on calling functions.`);
  } finally {
    chat.dispose();
  }
}

/** Lists the models: those of the first page, those kept here, and the one of the address. */
async function list() {
  const stored = await cache.list().catch(() => []);
  const offered = MODELS.map(({ id, name, bytes }) => [id, `${name}, ${size(bytes)}`]);
  const known = new Set(MODELS.map(({ id }) => entryOf(id).source));
  const others = stored.filter(({ source, complete }) => complete && !known.has(source)).map(({ source }) => [source, nameOf(source)]);
  const asked = wanted.get("model");
  const all = [...offered, ...others];
  if (asked && !all.some(([value]) => value === asked)) all.push([asked, nameOf(asked)]);
  $("model").replaceChildren(...all.map(([value, text]) => new Option(text, value)));
  const last = asked ?? kept("last") ?? SUGGESTED;
  if (all.some(([value]) => value === last)) $("model").value = last;
}

const forms = {
  choose: [{ start: "load", stop: "cancel", says: "model-says", error: "model-error" }, open],
  extract: [{ start: "fill", stop: "fill-stop", says: "json-says", error: "json-error" }, fill],
  ask: [{ start: "send", stop: "send-stop", says: "tools-says", error: "tools-error" }, ask],
};
for (const [id, [parts, work]] of Object.entries(forms)) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) run(parts, work);
  });
}
$("text").value = TEXT;
$("schema").value = JSON.stringify(SCHEMA, undefined, 2);
$("question").value = QUESTION;
$("functions").append(
  ...TOOLS.map(({ function: { name, description, parameters } }) => {
    const names = Object.keys(parameters.properties).join(", ");
    return element("li", {}, element("code", { textContent: `${name}(${names})` }), ` ${description}.`);
  }),
);
await list();
if (wanted.has("model")) run(...forms.choose);
