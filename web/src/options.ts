/** Checks of options that callers pass as objects. */

import { FoveateError } from "./error.js";

/** Returns the number of characters to insert, delete or replace that turns `a` into `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** Returns the name nearest to `wrong`, if it is likely what was meant. */
function nearest(wrong: string, names: readonly string[]): string | undefined {
  const near = names
    .map((name) => [distance(wrong.toLowerCase(), name.toLowerCase()), name] as const)
    .sort(([a], [b]) => a - b)[0];
  return near && near[0] <= Math.max(1, Math.floor(wrong.length / 3)) ? near[1] : undefined;
}

/** All names of the options of type `T`. Forgetting one, or naming another, is a type error. */
export type OptionNames<T> = Readonly<Record<keyof T, true>>;

/**
 * Throws an error of code `config` if `options` has a name that is not in `names`. `what` is the function that takes them.
 * Options that are `undefined` count as absent.
 */
export function checkOptions<T extends object>(what: string, options: T, names: OptionNames<T>): void {
  if (typeof options !== "object" || options === null) {
    throw new FoveateError("config", `the options of ${what} must be an object, got ${options}`);
  }
  const all = Object.keys(names);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || all.includes(name)) continue;
    const near = nearest(name, all);
    throw new FoveateError("config", `${what} has no option ${name}: ${near ? `did you mean ${near}?` : `its options are ${all.join(", ")}`}`);
  }
}
