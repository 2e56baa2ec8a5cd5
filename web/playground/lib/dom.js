// Helpers for the page.

export const $ = (id) => document.getElementById(id);

/** Makes an element. `properties` may hold `data`, `aria` (without the prefix) and event handlers such as `onclick`. */
export function element(name, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, data);
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  made.append(...children);
  return made;
}

/** Makes a button. `label` is what it shows; `description` is what screen readers say, if more is needed. */
export function button(label, onclick, { description, ...properties } = {}) {
  const made = element("button", { type: "button", textContent: label, onclick, ...properties });
  if (description) made.setAttribute("aria-label", description);
  return made;
}

/** Says something to screen readers. */
export function announce(text) {
  $("announcer").textContent = text;
}

/** Shows a message at the top of the page until the next one. `actions` are buttons. */
export function notice(text, { bad = false, actions = [] } = {}) {
  const place = $("notice");
  place.hidden = !text;
  place.classList.toggle("bad", bad);
  const close = button("×", () => (place.hidden = true), { description: "Dismiss", className: "plain-button" });
  $("notice-text").textContent = text ?? "";
  $("notice-actions").replaceChildren(...(text ? [...actions, close] : []));
}

/** Describes an error. */
export const described = (error) => String(error.message ?? error);

/** Copies text, and says so on the button for a moment. */
export async function copy(text, from) {
  const label = from.textContent;
  try {
    await navigator.clipboard.writeText(text);
    from.textContent = "Copied";
  } catch {
    from.textContent = "Not allowed";
  }
  announce(from.textContent);
  setTimeout(() => (from.textContent = label), 1500);
}

/** Saves a file to the user's downloads. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
