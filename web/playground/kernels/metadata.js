// The settings of ops with their documentation, read from the types that the package's build writes from the ops' own
// tables: `pkg/ops.d.ts`.

/** A comment, or a property `readonly name?: type | undefined;`. */
const LINE = /^\s*(?:\/\*\* (.*) \*\/|readonly (\w+)\?: (.*) \| undefined;|export interface (\w+)Settings \{|(\}))\s*$/;

/** Returns the kind of a property's type: `number`, `flag`, or the words that it may be. */
function kindOf(type) {
  const parts = type.split(" | ").filter((part) => part !== "null");
  if (parts[0] === "number" || parts[0] === "boolean") return { kind: parts[0] === "number" ? "number" : "flag" };
  return { kind: "word", choices: parts.map((part) => part.replaceAll('"', "")) };
}

/**
 * Parses the types. Returns for each op its summary and its fields: name, letter, kind, choices, default and documentation.
 * `names` maps an interface to its op.
 */
export function parse(types) {
  const ops = new Map();
  let comment = "";
  let fields;
  for (const line of types.split("\n")) {
    const [, text, name, type, opened, closed] = LINE.exec(line) ?? [];
    if (text !== undefined) comment = text;
    else if (opened) ops.set(opened, { summary: comment, fields: (fields = []) });
    else if (closed) fields = undefined;
    else if (name && fields) {
      const same = /^The same as `(\w+)`\.$/.exec(comment)?.[1];
      if (same) fields.find((field) => field.name === same).letter = name;
      else {
        const [, doc, value] = /^(.*?)\s*Default: `(.*)`\.$/.exec(comment) ?? [undefined, comment, ""];
        fields.push({ name, doc, value, optional: / \| null\b/.test(type), ...kindOf(type) });
      }
    }
  }
  return ops;
}

const camel = (op) => op.split("_").map((part) => part[0].toUpperCase() + part.slice(1)).join("");

/** Loads the settings of all ops. */
export async function metadata() {
  const response = await fetch(new URL("../../pkg/ops.d.ts", import.meta.url));
  if (!response.ok) throw new Error(`pkg/ops.d.ts: ${response.status}; build the package first`);
  const all = parse(await response.text());
  return (op) => all.get(camel(op)) ?? { summary: "", fields: [] };
}
