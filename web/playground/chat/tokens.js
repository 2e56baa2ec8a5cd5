// Answers as tokens, shaded by their probability. The most likely tokens at a place show in a card: on hover, or with the
// arrow keys.

import { $, element } from "../lib/dom.js";

const percent = (probability) => `${(100 * probability).toPrecision(3)} %`;

/** Returns a generated token as it is kept: its text, its probability and the most likely tokens, `[text, probability]`. */
export async function scored({ text, id, score }, word) {
  const top = await Promise.all(score.topLogprobs.map(async ({ id, logprob }) => [await word(id), Math.exp(logprob)]));
  return { id, text, p: Math.exp(score.logprob), top };
}

/** Returns the element of a token. */
export function tokenSpan(token) {
  const span = element("span", { className: "token", textContent: token.text });
  span.style.setProperty("--doubt", String(1 - token.p));
  span.token = token;
  return span;
}

function show(span) {
  const card = $("token-card");
  const { text, p, top } = span.token;
  const rows = top.map(([word, probability]) => {
    const row = element("li", { className: word === text ? "chosen" : "" });
    row.style.setProperty("--share", String(probability));
    row.append(element("code", { textContent: JSON.stringify(word) }), element("span", { textContent: percent(probability) }));
    return row;
  });
  card.replaceChildren(element("p", {}, element("code", { textContent: JSON.stringify(text) }), ` ${percent(p)}`), element("ol", {}, ...rows));
  card.hidden = false;
  const { left, bottom, top: above } = span.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = card;
  card.style.left = `${Math.max(8, Math.min(left, innerWidth - offsetWidth - 8))}px`;
  card.style.top = `${bottom + offsetHeight + 8 < innerHeight ? bottom + 6 : above - offsetHeight - 6}px`;
}

const hide = () => ($("token-card").hidden = true);

/** Returns an element for tokens, in which the arrow keys move between them. */
export function tokenBox() {
  const box = element("div", { className: "tokens", tabIndex: 0, role: "group", ariaLabel: "Tokens with probabilities: arrow keys move between them", dir: "auto" });
  box.setAttribute("aria-describedby", "token-card");
  let at;
  const move = (span) => {
    at?.classList.remove("at");
    at = span;
    at?.classList.add("at");
    if (at) show(at);
    else hide();
  };
  box.addEventListener("pointerover", ({ target }) => target.token && move(target));
  box.addEventListener("pointerleave", () => move(undefined));
  box.addEventListener("focus", () => move(box.querySelector(".token") ?? undefined));
  box.addEventListener("blur", () => move(undefined));
  box.addEventListener("keydown", (event) => {
    const next = { ArrowRight: at?.nextElementSibling, ArrowLeft: at?.previousElementSibling }[event.key];
    if (!next) return;
    event.preventDefault();
    move(next);
    next.scrollIntoView({ block: "nearest" });
  });
  return box;
}
