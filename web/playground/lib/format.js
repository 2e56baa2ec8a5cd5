// Numbers as text.

const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en");

/** Formats a number of bytes, such as `98 MB`. */
export function size(bytes) {
  if (bytes < 1e3) return `${bytes} B`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : bytes < 1e9 ? [bytes / 1e6, "MB"] : [bytes / 1e9, "GB"];
  return `${digits(value)} ${unit}`;
}

/** Formats a time in ms, such as `2.5 ms`. */
export function duration(ms) {
  const [value, unit] = ms < 1 ? [1000 * ms, "µs"] : ms < 1000 ? [ms, "ms"] : [ms / 1000, "s"];
  return `${digits(value)} ${unit}`;
}

/** Formats a number of things, such as `1 token` or `2 tokens`. */
export const count = (n, what, plural = `${what}s`) => `${n.toLocaleString("en")} ${n === 1 ? what : plural}`;

/** Formats a speed in tokens per second. */
export const rate = (perSecond) => `${Number(perSecond.toPrecision(2))} tokens/s`;
