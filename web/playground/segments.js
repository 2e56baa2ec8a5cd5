// What a session's cache holds, as a strip as long as its context and in words.

const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

export function element(name, className, textContent) {
  return Object.assign(document.createElement(name), { className, textContent });
}

/** A segment in words. */
function words({ kind, length, position }) {
  const at = length === 1 ? `position ${position}` : `positions ${position} to ${position + length - 1}`;
  return `${kind}: ${count(length, "token")}, ${at}`;
}

/**
 * The parts of a segment, which `start` tokens of text stand in front of: of its tokens, those before `kept` were there,
 * those before `of` were read, and the others are made. What is no text is one part.
 */
function parts({ kind, length }, start, kept, of) {
  if (kind !== "text") return [[kind, length]];
  const end = start + length;
  const within = (from, to) => Math.max(0, Math.min(end, to) - Math.max(start, from));
  return [
    ["kept", within(0, kept)],
    ["read", within(kept, of)],
    ["made", within(of, end)],
  ].filter(([, tokens]) => tokens > 0);
}

/** Draws `segments` into `strip` and writes them into `list`. Without a last turn, `kept` and `of` are all there is. */
export function drawSegments(strip, list, segments, { context, kept = Infinity, of = Infinity }) {
  let text = 0;
  const block = (segment) => {
    const made = element("div", `segment ${segment.kind}`, "");
    made.style.flexGrow = segment.length;
    made.title = words(segment);
    for (const [part, tokens] of parts(segment, text, kept, of)) {
      const piece = element("div", `part ${part}`, "");
      piece.style.flexGrow = tokens;
      made.append(piece);
    }
    if (segment.kind === "text") text += segment.length;
    return made;
  };
  const free = element("div", "free", "");
  free.style.flexGrow = context - segments.reduce((sum, { length }) => sum + length, 0);
  strip.replaceChildren(...segments.map(block), free);
  const empty = element("li", "", `empty, with room for ${count(context, "token")}`);
  list.replaceChildren(...(segments.length > 0 ? segments.map((segment) => element("li", "", words(segment))) : [empty]));
}

/** What a turn did not have to read, and what that would have cost at the pace of what it did read in `seconds`. */
export function saving({ kept, of }, seconds) {
  if (kept === 0) return `All of the prompt's ${count(of, "token")} were read, in ${seconds.toFixed(2)} s.`;
  const there = `${kept} of the prompt's ${count(of, "token")} were there`;
  if (kept === of) return `${there}: nothing was read.`;
  const pace = seconds / (of - kept);
  return `${there}, and ${of - kept} were read in ${seconds.toFixed(2)} s: at that pace, about ${(kept * pace).toFixed(2)} s were saved.`;
}
