import { cache, load } from "../dist/index.js";
import { means } from "./coprocessor.js";
import { follows, forget, look, watch } from "./layers.js";
import { drawProfile } from "./profile.js";
import { drawSegments, saving } from "./segments.js";

const $ = (id) => document.getElementById(id);

let model;
/** The conversation in the model's cache: of what did not change, nothing is read again. */
let session;
let loading;
let answering;
let profiling;
const messages = [];

/** Tokens of a conversation: its cache is allocated at once. */
const CONTEXT = 2048;

const mega = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

function show(element, visible) {
  element.hidden = !visible;
}

function complain(element, error) {
  element.textContent = error ? `${error.message} (${error.code})` : "";
  show(element, Boolean(error));
}

/** What is timed where there is no conversation. */
const SAMPLE = "The quick brown fox jumps over the lazy dog. ".repeat(6);

/** What can be used now. */
function update() {
  const busy = Boolean(answering ?? profiling);
  $("prompt").disabled = !model;
  $("send").disabled = !model || busy;
  $("clear").disabled = busy || messages.length === 0;
  $("again").disabled = busy || !messages.some(({ role }) => role === "user");
  for (const button of document.querySelectorAll(".edit")) button.disabled = busy;
  show($("cache"), Boolean(model));
  show($("times"), Boolean(model));
  $("profile").disabled = Boolean(answering);
  $("profile").textContent = profiling ? "Stop measuring" : "Measure ops";
  $("load").disabled = Boolean(loading);
  show($("loading"), Boolean(loading));
  show($("about"), Boolean(model));
  show($("stop"), Boolean(answering));
  show($("send"), !answering);
}

async function open(source, name) {
  loading?.abort();
  answering?.abort();
  profiling?.abort();
  const mine = new AbortController();
  loading = mine;
  complain($("load-error"));
  model?.dispose();
  model = undefined;
  watch();
  clear();
  for (const id of ["profiles", "profile-state", "saved"]) $(id).replaceChildren();
  complain($("profile-error"));
  $("empty").textContent = "Load a model, then ask it something.";
  $("progress").removeAttribute("value");
  $("amount").textContent = "Opening…";
  update();
  const began = performance.now();
  try {
    const onProgress = ({ bytes, of, compiled, pipelines }) => {
      if (loading !== mine) return;
      $("progress").value = of ? bytes / of : 1;
      const compiling = pipelines > 0 ? `, ${compiled} of ${pipelines} pipelines` : "";
      $("amount").textContent = `${mega(bytes)} of ${mega(of)} MB${compiling}`;
    };
    const loaded = await load(source, { device: $("device").value, onProgress, signal: mine.signal });
    const begun = await loaded.session({ context: Math.min(loaded.context, CONTEXT) }).finally(() => {
      if (loading !== mine) loaded.dispose();
    });
    if (loading !== mine) return;
    [model, session] = [loaded, begun];
    watch(model, session);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    $("about-model").textContent = name;
    $("about-time").textContent = `${seconds} s`;
    $("about-device").textContent = model.device;
    $("about-context").textContent = `${model.context.toLocaleString("en")} tokens`;
    showSegments();
    $("empty").textContent = model.hasTemplate ? "Ask it something." : "Begin a text, and the model goes on with it.";
  } catch (error) {
    if (error.code !== "cancelled") complain($("load-error"), error);
  } finally {
    if (loading === mine) loading = undefined;
    update();
    if (model) $("prompt").focus();
    showKept();
  }
}

function button(label, action, description = label) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  made.setAttribute("aria-label", description);
  made.addEventListener("click", action);
  return made;
}

/** The models that need no network any more. */
async function showKept() {
  const models = await cache.list().catch(() => []);
  const item = ({ source, bytes, of, complete }) => {
    const name = nameOf(source);
    const li = document.createElement("li");
    const about = Object.assign(document.createElement("span"), { className: "grow" });
    about.textContent = `${name}, ${complete ? "" : `${mega(bytes)} of `}${mega(of)} MB`;
    const forget = async () => {
      await cache.delete(source);
      showKept();
    };
    li.append(about, button("Load", () => open(source, name), `Load ${name}`), button("Forget", forget, `Forget ${name}`));
    return li;
  };
  $("models").replaceChildren(...models.map(item));
  show($("kept"), models.length > 0);
}

const nameOf = (address) => decodeURIComponent(address.replace(/\/(resolve\/main\/?)?$/, "").split("/").pop());

function turn(role, text) {
  show($("empty"), false);
  const p = document.createElement("p");
  p.className = `turn ${role}`;
  p.textContent = text;
  if (role === "user") {
    const change = () => {
      forgetFrom(p);
      $("prompt").value = text;
      $("prompt").focus();
    };
    const edit = button("Edit", change, "Edit this message");
    edit.className = "edit";
    p.append(edit);
  }
  $("turns").append(p);
  p.scrollIntoView({ block: "nearest" });
  return p;
}

/** Takes a turn and all after it out of the conversation. */
function forgetFrom(turn) {
  const turns = [...$("turns").querySelectorAll(".turn")];
  const at = turns.indexOf(turn);
  for (const later of turns.slice(at)) later.remove();
  messages.length = Math.min(messages.length, at);
  show($("empty"), messages.length === 0);
  update();
}

/** A token, with what else it could have been where that is known. */
function piece({ text, score }) {
  if (!score) return text;
  const span = Object.assign(document.createElement("span"), { className: "token", textContent: text });
  const percent = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(3)} %`;
  span.style.setProperty("--doubt", String(1 - Math.exp(score.logprob)));
  const others = score.likeliest.map(async ({ id, logprob }) => `${JSON.stringify(await model.detokenize([id]))} ${percent(logprob)}`);
  Promise.all(others)
    .then((words) => (span.title = `${percent(score.logprob)}; likeliest: ${words.join(", ")}`))
    .catch(() => {});
  return span;
}

function clear() {
  messages.length = 0;
  $("turns").querySelectorAll(".turn").forEach((p) => p.remove());
  show($("empty"), true);
  $("speed").textContent = "";
  complain($("talk-error"));
}

/** Tokens a second, from the first token on: what comes before is reading the prompt, `kept` tokens of which were there. */
function speedometer({ kept, of }) {
  let first;
  let count = 0;
  return {
    token() {
      first ??= performance.now();
      count++;
      this.show();
    },
    show() {
      const seconds = (performance.now() - first) / 1000;
      const rate = count > 1 ? `, ${((count - 1) / seconds).toFixed(1)} tokens/s` : "";
      const saved = kept > 0 ? `; ${kept} of the prompt's ${of} tokens were still there` : "";
      $("speed").textContent = `${count} ${count === 1 ? "token" : "tokens"}${rate}${saved}`;
    },
  };
}

/** What is in the cache now, in the colours of a turn that found `kept` tokens of `of`. */
async function showSegments(turn = {}) {
  const mine = session;
  // A session that has ended with its model has nothing to show.
  const segments = await mine?.segments().catch(() => undefined);
  if (segments && session === mine) drawSegments($("strip"), $("segments"), segments, { context: mine.context, ...turn });
}

async function profile() {
  const mine = new AbortController();
  profiling = mine;
  complain($("profile-error"));
  $("profiles").replaceChildren();
  $("profile-state").textContent = "measuring…";
  update();
  try {
    const prompt = model.hasTemplate && messages.length > 0 ? messages : SAMPLE;
    const found = await model.profile({ prompt, signal: mine.signal });
    if (profiling !== mine) return;
    drawProfile($("profiles"), found);
    const clock = found.clock === "device" ? "By the device's timestamps" : "By the processor's clock";
    $("profile-state").textContent = `${clock}, which the browser rounds; sums are of many runs.`;
  } catch (error) {
    if (profiling === mine) $("profile-state").textContent = "";
    if (error.code !== "cancelled" && error.code !== "closed") complain($("profile-error"), error);
  } finally {
    if (profiling === mine) profiling = undefined;
    update();
  }
}

async function answer(text) {
  const mine = new AbortController();
  answering = mine;
  complain($("talk-error"));
  turn("user", text);
  messages.push({ role: "user", content: text });
  const place = turn("assistant", "");
  place.classList.add("running");
  $("speed").textContent = "reading the prompt…";
  update();
  let found;
  try {
    const prompt = model.hasTemplate ? messages : text;
    const options = {
      maxTokens: $("max-tokens").valueAsNumber || undefined,
      temperature: $("temperature").valueAsNumber || 0,
      topP: $("top-p").valueAsNumber || 1,
      topK: $("top-k").valueAsNumber || 0,
      ...($("likely").checked ? { logprobs: 3 } : {}),
      seed: crypto.getRandomValues(new Uint32Array(1))[0],
      signal: mine.signal,
    };
    const began = performance.now();
    found = await session.rewrite(prompt, options);
    $("saved").textContent = saving(found, (performance.now() - began) / 1000);
    forget(found.kept);
    await augment(options);
    showSegments(found);
    if (follows()) await look();
    const speed = speedometer(found);
    for await (const token of session.generateTokens(options)) {
      place.append(piece(token));
      speed.token();
      place.scrollIntoView({ block: "nearest" });
      if (follows()) await look();
    }
  } catch (error) {
    if (error.code !== "cancelled") complain($("talk-error"), error);
  } finally {
    place.classList.remove("running");
    if (place.textContent) messages.push({ role: "assistant", content: place.textContent });
    // Turns alternate: a question without an answer is forgotten.
    else forgetFrom(place.previousElementSibling);
    if ($("speed").textContent.endsWith("…")) $("speed").textContent = "";
    answering = undefined;
    update();
    showSegments(found);
    look();
  }
}

/** Puts latents in front of the answer, if some are wanted. */
async function augment({ signal }) {
  const latents = Math.min($("latents").valueAsNumber || 0, 64);
  if (latents < 1) return;
  $("speed").textContent = "making latents…";
  const { spliced, reason } = await session.augment(means(model), { latents, signal });
  if (signal.aborted) return;
  $("saved").textContent += spliced ? " Latents stand in front of the answer." : ` No latents: ${reason}.`;
}

$("loader").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = $("url").value.trim();
  if (url) open(url, nameOf(url));
  else $("url").focus();
});

$("file").addEventListener("change", () => {
  const files = [...$("file").files];
  if (files.length > 0) open(files.length === 1 ? files[0] : files, files[0].name);
  $("file").value = "";
});

$("again").addEventListener("click", () => {
  const last = [...$("turns").querySelectorAll(".turn.user")].pop();
  const { content } = messages[[...$("turns").querySelectorAll(".turn")].indexOf(last)];
  forgetFrom(last);
  answer(content);
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("loader").classList.add("target");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? $("loader").classList.remove("target"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  $("loader").classList.remove("target");
  const files = [...event.dataTransfer.files];
  const [item] = event.dataTransfer.items;
  const handle = files.length < 2 ? await item?.getAsFileSystemHandle?.() : undefined;
  if (handle?.kind === "directory") open(handle, handle.name);
  else if (files.length > 0) open(files.length === 1 ? files[0] : files, files[0].name);
});

$("cancel").addEventListener("click", () => loading?.abort());
$("profile").addEventListener("click", () => (profiling ? profiling.abort() : profile()));
$("stop").addEventListener("click", () => answering?.abort());
$("clear").addEventListener("click", () => {
  clear();
  update();
});

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("prompt").value.trim();
  if (!text || !model || answering || profiling) return;
  $("prompt").value = "";
  answer(text);
});

$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});

const asked = new URLSearchParams(location.search);
if (asked.has("device")) $("device").value = asked.get("device");
if (asked.has("model")) {
  $("url").value = asked.get("model");
  $("loader").requestSubmit();
}
update();
showKept();
