/** Constraints: the form that an answer must have. */

import { FoveateError } from "./error.js";

/**
 * The form that an answer must have; at most one of these. The tokens of an answer that ends with `stop` are of this form.
 * One that ends with `length` was cut. A module of its own computes constraints; it is loaded with the first of them.
 */
export interface ConstraintOptions {
  /** Valid by a JSON schema, an object or a boolean; docs/constrained.md lists the keywords. */
  readonly jsonSchema?: object | boolean;
  /** An object of JSON. */
  readonly jsonMode?: boolean;
  /**
   * Matched from beginning to end by an expression in the syntax of the Rust crate `regex`, or by a `RegExp` without
   * look-around and back-references.
   */
  readonly regex?: string | RegExp;
  /** Derived from a grammar: Lark with the rule `start`, or GBNF with the rule `root`. */
  readonly grammar?: string;
  /** One of these texts. */
  readonly choices?: readonly string[];
}

/** Returns the constraint as JSON for the wasm, or `undefined` if there is none. */
export function constraintOf({ jsonSchema, jsonMode, regex, grammar, choices }: ConstraintOptions): string | undefined {
  const expression = regex instanceof RegExp ? toRust(regex) : regex;
  const all = { jsonSchema, jsonMode: jsonMode || undefined, regex: expression, grammar, choices };
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const names = given.map(([name]) => name).join(" and ");
    throw new FoveateError("config", `${names} exclude each other: give one of them`);
  }
  return given.length === 0 ? undefined : JSON.stringify(Object.fromEntries(given));
}

/**
 * Converts an expression of JavaScript to the syntax of the Rust crate `regex`. Anchors at both ends are removed, because
 * constraints match whole answers. `\d` and `\w` match ASCII only in JavaScript.
 */
function toRust({ source, flags }: RegExp): string {
  const ends = source.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
  let [converted, inClass] = ["", false];
  for (const [token] of ends.matchAll(/\\[^]|[^]/g)) {
    const ascii = { "\\d": "0-9", "\\w": "A-Za-z0-9_" }[token];
    if (token === "[") inClass = true;
    if (token === "]") inClass = false;
    if (ascii) converted += inClass ? ascii : `[${ascii}]`;
    else converted += token === "\\/" ? "/" : token;
  }
  const kept = ["i", "s"].filter((flag) => flags.includes(flag)).join("");
  return kept ? `(?${kept})(?:${converted})` : converted;
}
