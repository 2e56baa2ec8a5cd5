// Models that the first page offers. `source` is `owner/name/file` or `owner/name` on the hub, or a URL.

/** `bytes` is the size of the download, rounded to megabytes. */
export const MODELS = [
  {
    id: "smollm2-135m",
    name: "SmolLM2 135M",
    source: "bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q4_K_M.gguf",
    bytes: 105e6,
    licence: "Apache 2.0",
    about: "The smallest and fastest. Short, simple answers; often wrong.",
  },
  {
    id: "gemma3-270m",
    name: "Gemma 3 270M",
    source: "unsloth/gemma-3-270m-it-GGUF/gemma-3-270m-it-Q8_0.gguf",
    bytes: 292e6,
    licence: "Gemma terms",
    about: "Follows instructions well for its size. Many languages.",
  },
  {
    id: "qwen3-0.6b",
    name: "Qwen3 0.6B",
    source: "unsloth/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf",
    bytes: 397e6,
    licence: "Apache 2.0",
    about: "Thinks before it answers, if you like. Many languages.",
  },
  {
    id: "llama3.2-1b",
    name: "Llama 3.2 1B",
    source: "bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf",
    bytes: 808e6,
    licence: "Llama 3.2 licence",
    about: "The best general answers here, with enough memory.",
  },
  {
    id: "qwen3.5-0.8b",
    name: "Qwen3.5 0.8B",
    source: "Qwen/Qwen3.5-0.8B",
    bytes: 1750e6,
    licence: "Apache 2.0",
    about: "Three of four layers are delta-rule layers: look inside.",
  },
];

/** Questions that a new chat suggests. */
export const QUESTIONS = [
  "Explain in three sentences why the sky is blue.",
  "Write a short, friendly email that moves a meeting to Friday.",
  "What is the difference between a list and a tuple in Python? Show an example.",
];

/** `owner/name/path/to/file`. */
const HUB_FILE = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)\/([\w./-]+\.gguf)$/;
const HUB_NAME = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** Returns the address of a model on the hub, or `source` itself if it is one already. */
export function addressOf(source, hub) {
  const [, repository, file] = HUB_FILE.exec(source) ?? [];
  if (repository) return `${hub}/${repository}/resolve/main/${file}`;
  if (HUB_NAME.test(source) && !/\.gguf$/i.test(source)) return `${hub}/${source}/resolve/main/`;
  return source;
}

/** Returns a short name for an address: its last part, without the ending. */
export function nameOf(address) {
  const path = address.replace(/[?#].*$/, "").replace(/\/(resolve\/[^/]+\/?)?$/, "");
  const last = path.split("/").pop() || address;
  try {
    return decodeURIComponent(last).replace(/\.gguf$/i, "");
  } catch {
    return last;
  }
}
