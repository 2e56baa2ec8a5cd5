// The small model with a chat template. Its answers are noise, so tests look at what is around them.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { smallFolder } from "./small.mjs";

/** A template without marks. */
export const PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

/** A template with tools, in the form of Qwen 2.5. */
export const TOOLS = `{% if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<tool_call>{"name": .., "arguments": ..}</tool_call>\n{% endif %}
{%- for message in messages %}{{ message.role }}: {{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`;

/** The same with reasoning, which its prompts begin unless it is switched off. */
export const THINKING = `${TOOLS}{% if add_generation_prompt %}{% if enable_thinking is undefined or enable_thinking %}<think>{% else %}<think></think>{% endif %}{% endif %}`;

/** Returns the files of the small model with layers of these kinds, as a file picker does. */
export function talking(template = PLAIN, kinds = ["attention", "attention"]) {
  const folder = smallFolder(kinds);
  const read = (name) => readFileSync(join(folder, name));
  const config = JSON.stringify({ ...JSON.parse(read("config.json")), max_position_embeddings: 4096 });
  const files = [
    new File([config], "config.json"),
    new File([JSON.stringify({ chat_template: template })], "tokenizer_config.json"),
    ...["model.safetensors", "tokenizer.json"].map((name) => new File([read(name)], name)),
  ];
  rmSync(folder, { recursive: true });
  return files;
}

/** Returns the same as names and texts in base64, to be sent to a page. */
export const sent = async (files) =>
  Promise.all(files.map(async (file) => [file.name, Buffer.from(await file.arrayBuffer()).toString("base64")]));

export const ADD = {
  type: "function",
  function: {
    name: "add",
    description: "Adds two digits",
    parameters: {
      type: "object",
      properties: { a: { type: "integer", minimum: 0, maximum: 9 }, b: { enum: [1, 2] } },
      required: ["a", "b"],
      additionalProperties: false,
    },
  },
};
