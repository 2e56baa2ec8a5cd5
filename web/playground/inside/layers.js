// States of layers, step by step while answers are generated: a delta-rule head's state as a heat map, and the tokens of
// a routing head's centroids.

import { $, element } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { LATENT } from "./coprocessor.js";

/** Maximum number of steps in the history, and of numbers: 256 steps of a 128 by 128 head. */
const [MOMENTS, NUMBERS] = [256, 1 << 22];

const KINDS = { delta: "delta rule", routing: "routing" };

/** A sentence about each kind of layer. */
const MEANS = {
  delta: "A delta-rule layer keeps one matrix per head instead of a row for each token. Each token corrects what the matrix returns for its key, so the memory stays the same size for any length of text.",
  routing: "A routing layer sorts tokens into clusters around centroids, and a token attends only to those of its own cluster.",
};

let model;
let session;
/** History of the selected head: its numbers, or the members of its centroids, after each number of tokens. */
let moments = [];
/** Texts of token ids. */
let words = new Map();

const chosen = () => [Number($("layer").value), Number($("head").value)];

function options(select, all) {
  select.replaceChildren(...all.map(([value, textContent]) => element("option", { value, textContent })));
}

/** Reads from another session of the same model: a fork. */
export function move(begun) {
  if (session === begun) return;
  session = begun;
  moments = [];
}

/** Shows the layers of a model's session. Models with attention layers only have no states, and the section is hidden. */
export function watch(loaded, begun) {
  [model, session, words] = [loaded, begun, new Map()];
  const layers = (model?.layers ?? []).map((layer, i) => [i, layer]).filter(([, { kind }]) => kind in KINDS);
  $("layers").hidden = layers.length === 0;
  options($("layer"), layers.map(([i, { kind, heads }]) => [i, `${i + 1}: ${KINDS[kind]}, ${count(heads, "head")}`]));
  if (layers.length > 0) chooseLayer();
}

function chooseLayer() {
  const { heads, kind } = model.layers[chosen()[0]];
  $("layer-means").textContent = MEANS[kind];
  options($("head"), Array.from({ length: heads }, (_, h) => [h, String(h + 1)]));
  restart();
}

function restart() {
  moments = [];
  look();
}

const visible = () => !$("layers").hidden && !$("inside").hidden;

/** Returns `true` if states are updated at every token. */
export const follows = () => visible() && $("follow").checked;

/** Drops the history after the first `tokens` of the session. */
export function forget(tokens) {
  moments = moments.filter(({ read }) => read <= tokens);
}

/** Adds the present state of the selected head to the history. */
export async function look() {
  if (!visible()) return;
  const [mine, [layer, head]] = [session, chosen()];
  // The model may have been disposed of meanwhile.
  const found = await Promise.all([mine.state(layer), mine.tokens()]).catch(() => undefined);
  if (!found || session !== mine || String(chosen()) !== String([layer, head])) return;
  const [state, ids] = found;
  // The last token is read at the next step.
  const read = Math.max(0, ids.length - 1);
  const { kind, keyDim, valueDim } = state;
  const held = kind === "delta" ? state.values.slice(head * keyDim * valueDim, (head + 1) * keyDim * valueDim) : state.members[head];
  const largest = kind === "delta" ? held.reduce((most, x) => Math.max(most, Math.abs(x)), 0) : 0;
  const moment = { kind, read, held, largest, ids: ids.subarray(0, read), keyDim, valueDim };
  moments = [...moments.filter((other) => other.read !== read), moment];
  const most = kind === "delta" ? Math.min(MOMENTS, Math.floor(NUMBERS / held.length)) : MOMENTS;
  moments = moments.slice(-Math.max(1, most));
  const slider = $("moment");
  slider.max = moments.length - 1;
  slider.value = slider.max;
  slider.disabled = moments.length < 2;
  await draw();
}

async function draw() {
  const moment = moments[Number($("moment").value)];
  if (!moment) return;
  const delta = moment.kind === "delta";
  for (const [id, visible] of [["heat", delta], ["scale", delta], ["routed", !delta], ["members", !delta]]) $(id).hidden = !visible;
  await (delta ? drawState(moment) : drawMembers(moment));
}

const after = (read) => `after ${count(read, "token")}`;

function drawState({ read, held, keyDim, valueDim }) {
  // One scale for the whole history, so that the state visibly grows and decays.
  const largest = Math.max(...moments.map(({ largest }) => largest));
  const canvas = $("heat");
  [canvas.width, canvas.height] = [valueDim, keyDim];
  const style = getComputedStyle(canvas);
  const context = canvas.getContext("2d");
  const colour = (value) => {
    context.fillStyle = value;
    return context.fillStyle.match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
  };
  const [above, below] = [colour(style.outlineColor), colour(style.color)];
  const image = context.createImageData(valueDim, keyDim);
  for (const [i, x] of held.entries()) {
    image.data.set(x > 0 ? above : below, 4 * i);
    image.data[4 * i + 3] = largest > 0 ? Math.round((255 * Math.abs(x)) / largest) : 0;
  }
  context.putImageData(image, 0, 0);
  const mean = Math.sqrt(held.reduce((sum, x) => sum + x * x, 0) / held.length);
  const says = `Head ${chosen()[1] + 1} ${after(read)}: ${keyDim} keys (rows) by ${valueDim} values (columns), root mean square ${mean.toPrecision(3)}.`;
  $("state-says").textContent = says;
  canvas.setAttribute("aria-label", says);
  const end = Number(largest.toPrecision(3));
  $("scale").replaceChildren(...[`−${end}`, "", `${end}`].map((textContent) => element("span", { textContent, className: textContent ? "" : "ramp" })));
}

/** Returns a distinct hue for a centroid. */
const hue = (centroid) => String((centroid * 137.5) % 360);

/** Returns the text of a token id. */
async function word(id) {
  if (!words.has(id)) {
    words.set(id, id === LATENT ? "latent" : model.hasTokenizer ? await model.detokenize([id], { skipSpecial: false }) : String(id));
  }
  return words.get(id);
}

/** Returns for each token its present centroids, `now`, and its earlier ones, `left`. */
function whereabouts(last) {
  const all = new Map();
  const at = (token) => all.get(token) ?? all.set(token, { now: [], left: new Set() }).get(token);
  for (const { read, held } of moments.filter((moment) => moment.read <= last.read)) {
    held.forEach((tokens, c) => tokens.forEach((t) => (read === last.read ? at(t).now.push(c) : at(t).left.add(c))));
  }
  for (const { now, left } of all.values()) now.forEach((c) => left.delete(c));
  return all;
}

async function drawMembers(moment) {
  const { read, held, ids } = moment;
  const places = whereabouts(moment);
  const texts = await Promise.all([...ids].map(word)).catch(() => undefined);
  if (!texts || moment !== moments[Number($("moment").value)]) return;
  const names = (all) => all.map((c) => c + 1).join(", ");
  const token = (text, t) => {
    const { now = [], left = new Set() } = places.get(t) ?? {};
    const span = element("span", { className: now.length > 0 ? "routed-token" : "routed-token nowhere", textContent: text });
    if (now.length > 0) span.style.setProperty("--hue", hue(now[0]));
    const gone = left.size > 0 ? `earlier in centroid ${names([...left])}` : "in no centroid";
    span.title = now.length > 0 ? `centroid ${names(now)}` : gone;
    const below = now.length > 0 ? names(now) : left.size > 0 ? `(${names([...left])})` : "";
    if (below) span.append(element("sub", { textContent: below }));
    return span;
  };
  $("routed").replaceChildren(...texts.map(token));
  const { window } = model.layers[chosen()[0]];
  const centroid = (tokens, c) => {
    const li = element("li", { textContent: `centroid ${c + 1}: ${tokens.length} of ${window} tokens` });
    li.style.setProperty("--ink", `hsl(${hue(c)} 65% 50%)`);
    return li;
  };
  $("members").replaceChildren(...held.map(centroid));
  $("state-says").textContent = `Head ${chosen()[1] + 1} ${after(read)}. Below each token are its centroids, or in brackets its earlier ones.`;
}

$("layer").addEventListener("change", chooseLayer);
$("head").addEventListener("change", restart);
$("moment").addEventListener("input", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
