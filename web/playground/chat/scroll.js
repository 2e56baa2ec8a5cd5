// Follows the end of the messages, unless the reader has scrolled up.

import { $ } from "../lib/dom.js";

/** Distance from the end in pixels within which the page follows it. */
const NEAR = 48;

let follows = true;

const place = () => $("scroll");

/** Offers the jump to the end if the reader is elsewhere. */
const offerEnd = () => ($("latest").hidden = follows || $("turns").childElementCount === 0);

/** Scrolls to the end if the reader was there. */
export function follow() {
  if (follows) place().scrollTop = place().scrollHeight;
  offerEnd();
}

/** Scrolls to the end. */
export function toEnd() {
  follows = true;
  follow();
}

/** Starts to follow the reader's scrolling. */
export function watch() {
  place().addEventListener("scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = place();
    follows = scrollHeight - scrollTop - clientHeight < NEAR;
    offerEnd();
  });
  $("latest").addEventListener("click", toEnd);
}
