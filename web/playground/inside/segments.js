// The contents of a session's KV cache, as a strip and as a list.

import { element } from "../lib/dom.js";
import { count } from "../lib/format.js";

/** Describes a segment. */
function words({ kind, length, position }) {
  const at = length === 1 ? `position ${position}` : `positions ${position} to ${position + length - 1}`;
  return `${kind}: ${count(length, "token")}, ${at}`;
}

/**
 * Splits a text segment, which comes after `start` tokens of text. The first `cached` tokens of all text were cached before
 * the last turn, the tokens up to `prompt` were prefilled, the others were generated. Other segments have one part.
 */
function parts({ kind, length }, start, cached, prompt) {
  if (kind !== "text") return [[kind, length]];
  const end = start + length;
  const within = (from, to) => Math.max(0, Math.min(end, to) - Math.max(start, from));
  return [
    ["cached", within(0, cached)],
    ["prefilled", within(cached, prompt)],
    ["generated", within(prompt, end)],
  ].filter(([, tokens]) => tokens > 0);
}

/** Draws `segments` into `strip` and lists them in `list`. The counts are those of the last turn, see `Session.rewrite`. */
export function drawSegments(strip, list, segments, { context, cachedTokens = Infinity, promptTokens = Infinity }) {
  let text = 0;
  const block = (segment) => {
    const made = element("div", { className: `segment ${segment.kind}` });
    made.style.flexGrow = segment.length;
    made.title = words(segment);
    for (const [part, tokens] of parts(segment, text, cachedTokens, promptTokens)) {
      const piece = element("div", { className: `part ${part}` });
      piece.style.flexGrow = tokens;
      made.append(piece);
    }
    if (segment.kind === "text") text += segment.length;
    return made;
  };
  const free = element("div", { className: "free" });
  free.style.flexGrow = context - segments.reduce((sum, { length }) => sum + length, 0);
  strip.replaceChildren(...segments.map(block), free);
  const empty = element("li", { textContent: `empty, capacity ${count(context, "token")}` });
  list.replaceChildren(...(segments.length > 0 ? segments.map((segment) => element("li", { textContent: words(segment) })) : [empty]));
}

/** Describes the prefill of a turn that took `seconds`, and estimates the time that the cached tokens saved. */
export function prefillSummary({ promptTokens, cachedTokens }, seconds) {
  const counts = `Prompt: ${count(promptTokens, "token")}, ${cachedTokens.toLocaleString("en")} cached.`;
  const prefilled = promptTokens - cachedTokens;
  if (prefilled === 0) return `${counts} No prefill.`;
  const prefill = `${counts} Prefill: ${count(prefilled, "token")} in ${seconds.toFixed(2)} s`;
  if (cachedTokens === 0) return `${prefill}.`;
  return `${prefill}; the cache saved about ${((cachedTokens * seconds) / prefilled).toFixed(2)} s.`;
}
