import { cache, load } from "../dist/index.js";
import { means } from "./coprocessor.js";
import { follows, forget, look, watch } from "./layers.js";
import { drawProfile } from "./profile.js";
import { drawSegments, prefillSummary, promptCounts } from "./segments.js";

const $ = (id) => document.getElementById(id);

let model;
/** The chat in the model's KV cache. A turn reads only the tokens that changed. */
let session;
let loading;
let answering;
let profiling;
const messages = [];

/** Capacity of a chat in tokens. Its KV cache is allocated at once. */
const CONTEXT = 2048;

const mega = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

function show(element, visible) {
  element.hidden = !visible;
}

function complain(element, error) {
  element.textContent = error ? `${error.message} (${error.code})` : "";
  show(element, Boolean(error));
}

/** Text to profile if the chat is empty. */
const SAMPLE = "The quick brown fox jumps over the lazy dog. ".repeat(6);

/** Enables, disables and shows controls. */
function update() {
  const busy = Boolean(answering ?? profiling);
  $("prompt").disabled = !model;
  $("send").disabled = !model || busy;
  $("clear").disabled = busy || messages.length === 0;
  $("regenerate").disabled = busy || !messages.some(({ role }) => role === "user");
  for (const button of document.querySelectorAll(".edit")) button.disabled = busy;
  show($("cache"), Boolean(model));
  show($("times"), Boolean(model));
  $("profile").disabled = Boolean(answering);
  $("profile").textContent = profiling ? "Stop profiling" : "Profile ops";
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
  $("empty").textContent = "Load a model to start a chat.";
  $("progress").removeAttribute("value");
  $("amount").textContent = "Opening…";
  update();
  const began = performance.now();
  try {
    const onProgress = ({ loadedBytes, totalBytes, compiledPipelines, totalPipelines }) => {
      if (loading !== mine) return;
      $("progress").value = totalBytes ? loadedBytes / totalBytes : 1;
      const compiling = totalPipelines > 0 ? `, ${compiledPipelines} of ${totalPipelines} pipelines` : "";
      $("amount").textContent = `${mega(loadedBytes)} of ${mega(totalBytes)} MB${compiling}`;
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
    $("empty").textContent = model.hasTemplate ? "Type a message." : "This model has no chat template. Type a text, and the model continues it.";
  } catch (error) {
    if (error.code !== "cancelled") complain($("load-error"), error);
  } finally {
    if (loading === mine) loading = undefined;
    update();
    if (model) $("prompt").focus();
    showDownloaded();
  }
}

function button(label, action, description = label) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  made.setAttribute("aria-label", description);
  made.addEventListener("click", action);
  return made;
}

/** Lists the downloaded models. */
async function showDownloaded() {
  const models = await cache.list().catch(() => []);
  const item = ({ source, cachedBytes, totalBytes, complete }) => {
    const name = nameOf(source);
    const li = document.createElement("li");
    const about = Object.assign(document.createElement("span"), { className: "grow" });
    about.textContent = `${name}, ${complete ? "" : `${mega(cachedBytes)} of `}${mega(totalBytes)} MB`;
    const remove = async () => {
      await cache.delete(source);
      showDownloaded();
    };
    li.append(about, button("Load", () => open(source, name), `Load ${name}`), button("Delete", remove, `Delete ${name}`));
    return li;
  };
  $("models").replaceChildren(...models.map(item));
  show($("downloaded"), models.length > 0);
}

const nameOf = (address) => decodeURIComponent(address.replace(/\/(resolve\/main\/?)?$/, "").split("/").pop());

function turn(role, text) {
  show($("empty"), false);
  const p = document.createElement("p");
  p.className = `turn ${role}`;
  p.textContent = text;
  if (role === "user") {
    const change = () => {
      removeFrom(p);
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

/** Removes a turn and all later ones from the chat. */
function removeFrom(turn) {
  const turns = [...$("turns").querySelectorAll(".turn")];
  const at = turns.indexOf(turn);
  for (const later of turns.slice(at)) later.remove();
  messages.length = Math.min(messages.length, at);
  show($("empty"), messages.length === 0);
  update();
}

/** Returns the element of a token, with the most likely tokens in its title if they are known. */
function piece({ text, score }) {
  if (!score) return text;
  const span = Object.assign(document.createElement("span"), { className: "token", textContent: text });
  const percent = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(3)} %`;
  span.style.setProperty("--doubt", String(1 - Math.exp(score.logprob)));
  const others = score.topLogprobs.map(async ({ id, logprob }) => `${JSON.stringify(await model.detokenize([id]))} ${percent(logprob)}`);
  Promise.all(others)
    .then((words) => (span.title = `${percent(score.logprob)}; most likely: ${words.join(", ")}`))
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

/** Shows the counts of a turn, and the tokens per second from the first generated token on. */
function speedometer(counts) {
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
      $("speed").textContent = `${promptCounts(counts)} Generated: ${count} ${count === 1 ? "token" : "tokens"}${rate}`;
    },
  };
}

/** Draws the KV cache, in the colours of a turn with these counts. */
async function showSegments(turn = {}) {
  const mine = session;
  // The model may have been disposed of meanwhile.
  const segments = await mine?.segments().catch(() => undefined);
  if (segments && session === mine) drawSegments($("strip"), $("segments"), segments, { context: mine.context, ...turn });
}

async function profile() {
  const mine = new AbortController();
  profiling = mine;
  complain($("profile-error"));
  $("profiles").replaceChildren();
  $("profile-state").textContent = "Profiling…";
  update();
  try {
    const prompt = model.hasTemplate && messages.length > 0 ? messages : SAMPLE;
    const found = await model.profile({ prompt, signal: mine.signal });
    if (profiling !== mine) return;
    drawProfile($("profiles"), found);
    const clock = found.clock === "device" ? "GPU timestamps" : "the CPU clock";
    $("profile-state").textContent = `Times are sums over many runs, from ${clock}, which the browser rounds.`;
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
  $("speed").textContent = "Reading the prompt…";
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
    $("saved").textContent = prefillSummary(found, (performance.now() - began) / 1000);
    forget(found.cachedTokens);
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
    // Turns alternate, so a question without an answer is removed.
    else removeFrom(place.previousElementSibling);
    if ($("speed").textContent.endsWith("…")) $("speed").textContent = "";
    answering = undefined;
    update();
    showSegments(found);
    look();
  }
}

/** Inserts latents before the answer, if any are requested. */
async function augment({ signal }) {
  const latents = Math.min($("latents").valueAsNumber || 0, 64);
  if (latents < 1) return;
  $("speed").textContent = "Computing latents…";
  const { spliced, reason } = await session.augment(means(model), { latents, signal });
  if (signal.aborted) return;
  $("saved").textContent += spliced ? " Latents were inserted before the answer." : ` No latents: ${reason}.`;
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

$("regenerate").addEventListener("click", () => {
  const last = [...$("turns").querySelectorAll(".turn.user")].pop();
  const { content } = messages[[...$("turns").querySelectorAll(".turn")].indexOf(last)];
  removeFrom(last);
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
showDownloaded();
