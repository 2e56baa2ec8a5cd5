// Markdown of answers as elements. marked reads it, DOMPurify sanitises the result, highlight.js colours code and Temml
// turns TeX into MathML; the last two are loaded when an answer needs them.
//
// HTML in answers is shown as text, and pictures are links: a picture's address could carry the conversation to a server.

import DOMPurify from "dompurify";
import { Marked } from "marked";
import { button, copy, element } from "../lib/dom.js";

const escaped = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

/** Returns a marked extension for TeX between delimiters. `rule` matches it at the start of the source. */
const tex = (name, level, display, hint, rule) => ({
  name,
  level,
  start: (source) => source.match(hint)?.index,
  tokenizer(source) {
    const match = rule.exec(source);
    return match ? { type: name, raw: match[0], text: (match[1] ?? match[2]).trim() } : undefined;
  },
  renderer: ({ text }) => `<code class="tex${display ? " display" : ""}">${escaped(text)}</code>`,
});

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [
    tex("texBlock", "block", true, /\$\$|\\\[/, /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])(?:\n|$)/),
    tex("texDisplay", "inline", true, /\$\$|\\\[/, /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/),
    // As in pandoc: no space inside of the dollars and no digit behind, so that prices stay text.
    tex("texInline", "inline", false, /\$|\\\(/, /^(?:\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\))/),
  ],
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
  },
});

const ALLOWED = {
  ALLOWED_TAGS: [
    ..."a blockquote br code del em h1 h2 h3 h4 h5 h6 hr input li ol p pre span strong table tbody td th thead tr ul".split(" "),
  ],
  ALLOWED_ATTR: ["href", "class", "align", "start", "type", "checked", "disabled"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
  RETURN_DOM_FRAGMENT: true,
};

let temml;
let highlighter;
/** Streams that wait for the code that draws maths or colours programs. */
const waiting = new Set();

function arrived() {
  const streams = [...waiting];
  waiting.clear();
  for (const stream of streams) stream.redraw();
}

function drawTex(code, stream) {
  if (!temml) {
    waiting.add(stream);
    import("temml").then((module) => ((temml = module.default), arrived()));
    return;
  }
  const place = element("span", { className: code.className });
  const displayMode = code.classList.contains("display");
  temml.render(code.textContent, place, { displayMode, throwOnError: false });
  code.replaceWith(place);
}

/** Code longer than this is coloured when it is complete: colouring it at every token would take too long. */
const MOST_LIVE_CODE = 3000;

function drawCode(pre, stream, complete) {
  const code = pre.firstElementChild;
  const language = /\blanguage-([\w+#-]+)/.exec(code.className)?.[1] ?? "";
  const text = code.textContent;
  const head = element("div", { className: "code-head" }, element("span", { textContent: language || "code" }));
  const copying = button("Copy", () => copy(text, copying), { description: "Copy code" });
  head.append(copying);
  const scrolled = element("div", { className: "code", dir: "ltr" }, head);
  pre.replaceWith(scrolled);
  pre.tabIndex = 0;
  scrolled.append(pre);
  if (!language || (!complete && text.length > MOST_LIVE_CODE)) return;
  if (highlighter) {
    const coloured = highlighter(text, language);
    if (coloured !== undefined) code.replaceChildren(DOMPurify.sanitize(coloured, ALLOWED));
  } else {
    waiting.add(stream);
    import("./highlight.js").then((module) => ((highlighter = module.highlight), arrived()));
  }
}

/** Returns the elements of one block. */
function drawn(token, stream, complete) {
  const fragment = DOMPurify.sanitize(marked.parser([token]), ALLOWED);
  for (const code of fragment.querySelectorAll("code.tex")) drawTex(code, stream);
  for (const pre of fragment.querySelectorAll("pre")) drawCode(pre, stream, complete);
  for (const table of fragment.querySelectorAll("table")) {
    const region = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Table" });
    table.replaceWith(region);
    region.append(table);
  }
  for (const link of fragment.querySelectorAll("a")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  for (const box of fragment.querySelectorAll("input")) box.ariaLabel = "Done";
  for (const block of fragment.querySelectorAll("p, ul, ol, h1, h2, h3, h4, h5, h6, blockquote, td, th")) block.dir = "auto";
  return fragment;
}

/** Closes emphasis and code at the end of an unfinished text, so that its markers do not show for a moment. */
export function closed(text) {
  const last = text.slice(text.lastIndexOf("\n\n") + 1);
  if (/^\s*(```|~~~)/m.test(text) && (text.match(/^\s*(```|~~~)/gm).length & 1) === 1) return text;
  if ((last.match(/`/g)?.length ?? 0) & 1) return `${text}\``;
  const plain = last.replace(/`[^`]*`/g, "");
  const trimmed = text.replace(/\*{1,2}$/, "");
  if ((plain.match(/\*\*/g)?.length ?? 0) & 1) return text.endsWith("**") ? trimmed : `${trimmed}**`;
  return text;
}

/** A growing Markdown text. Only the blocks that changed are drawn again, so selections and scroll positions stay. */
export class Markdown {
  #place;
  #raws = [];
  #last = ["", true];

  constructor(place) {
    this.#place = place;
  }

  /** Shows `text`. `complete` is false while more text follows. */
  update(text, complete = true) {
    this.#last = [text, complete];
    const tokens = marked.lexer(complete ? text : closed(text)).filter(({ type }) => type !== "space" && type !== "def");
    for (const [i, token] of tokens.entries()) {
      const whole = complete || i + 1 < tokens.length;
      const key = `${whole}${token.raw}`;
      if (this.#raws[i] === key) continue;
      this.#raws[i] = key;
      const block = element("div", { className: "block" }, drawn(token, this, whole));
      const old = this.#place.children[i];
      if (old) old.replaceWith(block);
      else this.#place.append(block);
    }
    while (this.#place.children.length > tokens.length) this.#place.lastElementChild.remove();
    this.#raws.length = tokens.length;
  }

  redraw() {
    this.#raws = [];
    this.update(...this.#last);
  }
}
