// The field for messages. Enter sends, Shift+Enter breaks the line, Escape stops the answer.

import { $ } from "../lib/dom.js";

/** Height at which the field starts to scroll, in pixels. */
const MOST = 220;

function grow() {
  const field = $("prompt");
  field.style.height = "auto";
  field.style.height = `${Math.min(MOST, field.scrollHeight + 2)}px`;
}

/** Sets the text of the field. */
export function write(text) {
  $("prompt").value = text;
  grow();
  $("prompt").focus();
}

/** Shows Stop in the place of Send while an answer is generated. The focus moves along. */
export function showRunning(running) {
  const focused = document.activeElement;
  $("stop").hidden = !running;
  $("send").hidden = running;
  if (focused === $("send") || focused === $("stop")) $(running ? "stop" : "prompt").focus();
}

/** Connects the field and its buttons. `send(text)` returns `true` if it took the text. */
export function build({ send, stop }) {
  const submit = () => {
    const text = $("prompt").value.trim();
    if (text && send(text)) write("");
  };
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("prompt").addEventListener("input", grow);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  $("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
}
