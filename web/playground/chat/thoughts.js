// Thoughts of reasoning models, `<think>…</think>` before an answer.

const [OPEN, CLOSE] = ["<think>", "</think>"];

/**
 * Splits a message into thoughts and answer. `thinking` is true if the prompt already ended with `<think>`, so that the
 * message begins with thoughts. `open` is true while thoughts have no end.
 */
export function split(content, thinking = false) {
  const start = content.trimStart();
  const opened = start.startsWith(OPEN);
  if (!opened && !thinking) {
    // A tag that is still being generated is not shown as text.
    const partial = start.length > 0 && start.length < OPEN.length && OPEN.startsWith(start);
    return { thoughts: "", answer: partial ? "" : content, open: false };
  }
  const text = opened ? start.slice(OPEN.length) : content;
  const end = text.indexOf(CLOSE);
  if (end < 0) return { thoughts: text.trim(), answer: "", open: true };
  return { thoughts: text.slice(0, end).trim(), answer: text.slice(end + CLOSE.length).trimStart(), open: false };
}

/** Returns true if a rendered prompt ends inside of thoughts. */
export const endsThinking = (prompt) => prompt.trimEnd().endsWith(OPEN);
