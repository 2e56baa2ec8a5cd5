/** Fields of requests: read by name, checked by type and range, as the server does (native/src/serve/http). */

import type { GenerateOptions } from "../answer.js";
import type { Message } from "../methods.js";
import { APIError } from "./error.js";

type Fields = Readonly<Record<string, unknown>>;

/** Temperatures below this always take the most likely token. */
const GREEDY = 1e-5;

/** Unsupported fields that change results, with their neutral values. */
const UNSUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  parallel_tool_calls: [true],
  functions: [],
  function_call: ["none", "auto"],
  modalities: [],
  audio: [],
  reasoning_effort: ["none"],
  web_search_options: [],
  suffix: [""],
  echo: [false],
  best_of: [1],
};

const short = (value: unknown) => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
};

const wrong = (name: string, expected: string, got: unknown) => APIError.field(name, `${name} must be ${expected}, got ${short(got)}`);

/** Returns a field, or `undefined` if it is missing or null. */
const get = (fields: Fields, name: string): unknown => fields[name] ?? undefined;

function number(fields: Fields, name: string, least: number, most: number): number | undefined {
  const value = get(fields, name);
  if (value === undefined) return undefined;
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw wrong(name, `a number from ${least} to ${most}`, value);
}

export function integer(fields: Fields, name: string, least: number, most: number): number | undefined {
  const value = get(fields, name);
  if (value === undefined || (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)) return value as number | undefined;
  throw wrong(name, `an integer from ${least} to ${most}`, value);
}

export function boolean(fields: Fields, name: string): boolean {
  const value = get(fields, name) ?? false;
  if (typeof value !== "boolean") throw wrong(name, "true or false", value);
  return value;
}

function string(fields: Fields, name: string): string | undefined {
  const value = get(fields, name);
  if (value !== undefined && typeof value !== "string") throw wrong(name, "a string", value);
  return value;
}

function object(fields: Fields, name: string): Readonly<Record<string, unknown>> | undefined {
  const value = get(fields, name);
  if (value !== undefined && (typeof value !== "object" || Array.isArray(value))) throw wrong(name, "an object", value);
  return value as Readonly<Record<string, unknown>> | undefined;
}

function list(fields: Fields, name: string): readonly unknown[] | undefined {
  const value = get(fields, name);
  if (value !== undefined && !Array.isArray(value)) throw wrong(name, "a list", value);
  return value;
}

/** Returns a string or a list of at most `most` strings as a list. */
export function strings(fields: Fields, name: string, most: number): string[] {
  const value = get(fields, name);
  if (value === undefined) return [];
  if (typeof value === "string") return [value];
  if (Array.isArray(value) && value.length <= most && value.every((item) => typeof item === "string")) return value;
  throw wrong(name, `a string or a list of at most ${most} strings`, value);
}

/** Settings of a request besides its prompt. */
export interface Settings {
  readonly options: GenerateOptions;
  readonly choices: number;
  readonly stream: boolean;
  readonly usage: boolean;
}

/** Reads the fields that chats and completions share. `tokens` is the default of the maximum number of tokens. */
export function settings(fields: Fields, tokens: number, vocabSize: number, logprobs: number | undefined): Settings {
  for (const [name, neutral] of Object.entries(UNSUPPORTED)) {
    const value = get(fields, name);
    const empty = value === undefined || value === 0 || (Array.isArray(value) && value.length === 0);
    const text = name === "modalities" && JSON.stringify(value) === '["text"]';
    if (!empty && !text && !neutral.includes(value)) {
      throw APIError.field(name, `${name} is not supported: leave it out`, "unsupported_parameter");
    }
  }
  const stop = strings(fields, "stop", 16);
  if (stop.includes("")) throw APIError.field("stop", "stop strings must not be empty");
  const most = 0xffff_ffff;
  const maxTokens = integer(fields, "max_completion_tokens", 0, most) ?? integer(fields, "max_tokens", 0, most) ?? tokens;
  const temperature = number(fields, "temperature", 0, 2) ?? 1;
  const stream = boolean(fields, "stream");
  const streamed = object(fields, "stream_options");
  if (streamed && !stream) throw APIError.field("stream_options", "stream_options is for streams: set stream");
  const penalty = (name: string) => number(fields, name, -2, 2) ?? 0;
  const [frequency, presence] = [penalty("frequency_penalty"), penalty("presence_penalty")];
  const logitBias = biases(fields, vocabSize);
  const seed = integer(fields, "seed", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? Math.floor(Math.random() * 2 ** 53);
  const options: GenerateOptions = {
    ...{ maxTokens, stop, ignoreEos: boolean(fields, "ignore_eos"), temperature: temperature < GREEDY ? 0 : temperature },
    ...{ topP: number(fields, "top_p", 0, 1) ?? 1, topK: integer(fields, "top_k", 0, most) ?? 0, minP: number(fields, "min_p", 0, 1) ?? 0 },
    ...{ repetitionPenalty: number(fields, "repetition_penalty", 0.01, 100) ?? 1, minTokens: integer(fields, "min_tokens", 0, most) ?? 0 },
    // The engine's seeds have 53 bits without a sign.
    ...{ seed: seed < 0 ? seed + Number.MAX_SAFE_INTEGER + 1 : seed, logitBias },
    samplers: { ...(frequency && { "frequency-penalty": frequency }), ...(presence && { "presence-penalty": presence }) },
    ...(logprobs !== undefined && { logprobs }),
    ...constraint(fields),
  };
  return { options, choices: integer(fields, "n", 1, 16) ?? 1, stream, usage: streamed?.["include_usage"] === true };
}

function biases(fields: Fields, vocabSize: number): Record<number, number> {
  const all = Object.entries(object(fields, "logit_bias") ?? {});
  const id = (text: string) => /^\d+$/.test(text) && Number(text) < vocabSize;
  const bias = (value: unknown) => typeof value === "number" && Math.abs(value) <= 100;
  if (all.length > 1024 || !all.every(([text, value]) => id(text) && bias(value))) {
    const most = "at most 1024 ids, as strings, to numbers from -100 to 100";
    throw APIError.field("logit_bias", `logit_bias must map ${most}; ids are below ${vocabSize}`);
  }
  return Object.fromEntries(all) as Record<number, number>;
}

/** Reads the form that an answer must have. */
function constraint(fields: Fields): Pick<GenerateOptions, "jsonSchema" | "jsonMode" | "regex" | "grammar"> {
  const regex = string(fields, "guided_regex");
  const grammar = string(fields, "grammar") || undefined;
  const guided = get(fields, "guided_json") as object | undefined;
  const all = [format(fields), guided && { jsonSchema: guided }, regex && { regex }, grammar && { grammar }].filter(Boolean);
  if (all.length > 1) {
    throw APIError.field("response_format", "response_format, guided_json, guided_regex and grammar exclude each other: give one");
  }
  return all[0] || {};
}

function format(fields: Fields): { jsonMode: true } | { jsonSchema: object } | undefined {
  const given = object(fields, "response_format");
  if (!given || given["type"] === "text") return undefined;
  if (given["type"] === "json_object") return { jsonMode: true };
  const schema = (given["json_schema"] as { schema?: object } | undefined)?.schema;
  if (given["type"] === "json_schema" && schema) return { jsonSchema: schema };
  const expected = "the type text, json_object, or json_schema with json_schema.schema";
  throw APIError.field("response_format", `response_format must have ${expected}`);
}

/** Reads the messages, tools and template variables of a chat. */
export function conversation(fields: Fields): { messages: Message[]; options: GenerateOptions } {
  const given = list(fields, "messages");
  if (!given?.length) throw APIError.field("messages", "messages must be a list of at least one message");
  const tools = list(fields, "tools") ?? [];
  const functions = tools as { type?: unknown; function?: { name?: unknown; strict?: unknown } }[];
  const at = functions.findIndex((tool) => tool?.type !== "function" || typeof tool.function?.name !== "string" || !tool.function.name);
  if (at >= 0) throw APIError.field("tools", `tools[${at}] must have the type function, and a function with a name`);
  const templateVariables = object(fields, "chat_template_kwargs");
  const options: GenerateOptions = {
    toolChoice: choice(fields, functions),
    ...(tools.length > 0 && { tools: tools as object[] }),
    ...(templateVariables && { templateVariables }),
  };
  return { messages: given.map(message), options };
}

type ToolChoice = NonNullable<GenerateOptions["toolChoice"]>;

function choice(fields: Fields, tools: readonly { function?: { name?: unknown; strict?: unknown } }[]): ToolChoice {
  const strict = tools.length > 0 && tools.every((tool) => tool.function?.strict === true);
  const given = get(fields, "tool_choice") ?? "auto";
  if (given === "auto") return strict ? "strict" : "auto";
  if (given === "none" || (given === "required" && tools.length > 0)) return given;
  const name = (given as { function?: { name?: unknown } }).function?.name;
  if (typeof name === "string" && tools.some((tool) => tool.function?.name === name)) return { name };
  throw APIError.field("tool_choice", "tool_choice must be none, auto, required, or name a function of tools");
}

const ROLES = ["system", "developer", "user", "assistant", "tool"];

/** Reads a message: parts of text are joined, because most templates know plain text only. */
function message(given: unknown, at: number): Message {
  const { role, content, ...rest } = (given ?? {}) as Record<string, unknown>;
  if (typeof role !== "string" || !ROLES.includes(role)) throw wrong("messages", `a list of messages with a role, one of ${ROLES.join(", ")}; messages[${at}] is wrong`, given);
  const text = (part: { type?: unknown; text?: unknown } | null) => {
    const known = ["text", "input_text", "output_text"].includes(part?.type as string) && typeof part?.text === "string";
    if (!known) throw APIError.field("messages", `messages[${at}].content must consist of parts of text, got ${short(content)}`);
    return part?.text as string;
  };
  const joined = Array.isArray(content) ? content.map(text).join("") : (content ?? (role === "assistant" ? "" : content));
  if (typeof joined !== "string") throw APIError.field("messages", `messages[${at}].content must be a string or a list of parts of text, got ${short(given)}`);
  const calls = rest["tool_calls"];
  return {
    ...rest,
    ...(Array.isArray(calls) && { tool_calls: calls.map(withValue) }),
    role: role === "developer" ? "system" : role,
    content: joined,
  };
}

/** Arguments of earlier calls are text in OpenAI's form, and objects for templates. */
function withValue(call: { function?: { arguments?: unknown } }): object {
  const text = call?.function?.arguments;
  try {
    const value: unknown = typeof text === "string" ? JSON.parse(text) : undefined;
    if (typeof value === "object" && value && !Array.isArray(value)) return { ...call, function: { ...call.function, arguments: value } };
  } catch {
    // Arguments that are not JSON stay a text.
  }
  return call;
}
