// Small values that are kept in this browser.

const PREFIX = "foveate.";

/** Returns the kept value of a name, or `otherwise` if there is none. */
export function kept(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keeps a value under a name. */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A page without storage loses its values when it is closed.
  }
}
