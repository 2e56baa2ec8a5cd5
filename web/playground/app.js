// The page: connects the model, the chat, the kept conversations and the panels.

import * as composer from "./chat/composer.js";
import { Chat } from "./chat/chat.js";
import { History } from "./chat/history.js";
import * as scroll from "./chat/scroll.js";
import { begin } from "./chat/tree.js";
import { Host } from "./host.js";
import { Inside } from "./inside/inside.js";
import { $, announce, button, described, notice } from "./lib/dom.js";
import { keep, kept } from "./lib/storage.js";
import { build, fit, settings } from "./settings.js";
import { install } from "./start/offline.js";
import { entryOf, Picker } from "./start/picker.js";
import { phase } from "./start/progress.js";
import { QUESTIONS } from "./start/catalog.js";

const host = new Host();
const chat = new Chat(host, {
  changed: (conversation) => {
    history.save(conversation);
    draw();
  },
  growing: (conversation) => history.write(conversation),
  without: () => chooseModel(),
  before: (...found) => inside.before(...found),
  token: () => inside.token(),
  after: () => inside.after(),
});
const history = new History(chat, (conversation) => {
  chat.open(conversation ?? begin());
  history.draw();
  history.show(false);
  draw();
  $("prompt").focus();
});
const picker = new Picker(host, open);
const inside = new Inside(host, chat);

/** A question that was asked before the model was ready. */
let waiting;

/** Loads a model. The loaded one stays until the new one is ready, and if loading fails. */
async function open(entry, { unload = false } = {}) {
  picker.fail();
  notice();
  if (unload) host.unload();
  $("models-dialog").close();
  $("progress").removeAttribute("value");
  $("amount").textContent = `Opening ${entry.name}…`;
  const choosing = $("picker").contains(document.activeElement);
  const onProgress = (progress) => {
    $("progress").value = progress.totalBytes ? progress.loadedBytes / progress.totalBytes : 0;
    $("amount").textContent = `${entry.name}: ${phase(progress)}`;
  };
  try {
    const opening = host.open(entry, { device: settings.device, context: settings.context, onProgress });
    picker.draw();
    // The button that was pressed is gone.
    if (choosing) $("cancel").focus();
    await opening;
    if (!entry.local) keep("last", entry.id);
    await ready();
  } catch (error) {
    if (!host.loading) giveBack();
    if (error.code !== "cancelled" && error.name !== "AbortError") failed(entry, error);
  } finally {
    picker.draw();
  }
}

/** Puts a message that waits for a model back into its field. */
function giveBack() {
  if (waiting) composer.write(waiting);
  waiting = undefined;
  $("speed").textContent = "";
}

function failed(entry, error) {
  if (!host.model && $("picker-home").contains($("picker"))) return picker.fail(error);
  // The loaded model takes memory that the new one may need.
  const name = host.entry?.name;
  const full = name && (error.code === "out-of-memory" || error.code === "limit");
  const actions = full ? [button(`Unload ${name} and try again`, () => open(entry, { unload: true }))] : [];
  notice(`${entry.name} was not loaded: ${described(error)}.${name ? ` ${name} stays loaded.` : ""}`, { bad: true, actions });
}

/** Prepares the page for the model that was loaded. */
async function ready() {
  const { model, entry } = host;
  announce(`${entry.name} is ready`);
  const asked = [{ role: "user", content: "." }];
  const [on, off] = await Promise.all(
    [true, false].map((enable_thinking) => (model.hasTemplate ? model.render(asked, { addGenerationPrompt: true, templateVariables: { enable_thinking } }).catch(() => "") : "")),
  );
  fit({ thinks: on !== off });
  $("prompt").placeholder = model.hasTemplate ? "Ask anything" : "Type a text, and the model continues it";
  const text = waiting;
  waiting = undefined;
  if (text) chat.send(text);
  else $("prompt").focus();
}

/** Takes a message of the composer. Returns false if it stays there. */
function send(text) {
  if (chat.busy || waiting || inside.profiling) return false;
  if (host.model) {
    chat.send(text);
    return true;
  }
  if (host.loading) {
    waiting = text;
    $("speed").textContent = `Your message is sent when ${host.loading.name} is ready.`;
    return true;
  }
  const last = kept("last");
  if (last) {
    waiting = text;
    open(entryOf(last));
    return true;
  }
  $("speed").textContent = "Choose a model first: your message stays here.";
  announce($("speed").textContent);
  return false;
}

/** Shows the models: in the dialog, or on the first page. */
function chooseModel() {
  picker.draw();
  if ($("picker-away").contains($("picker"))) $("models-dialog").showModal();
  else $("models").querySelector("button")?.focus();
}

/** Shows the names and states of model, device and loading, and moves the choice of models to its place. */
function draw() {
  const { model, entry, loading } = host;
  $("model-name").textContent = entry?.name ?? "Choose a model";
  $("device").textContent = model?.device ?? "";
  $("loading").hidden = !loading;
  document.body.classList.toggle("with-model", Boolean(model));
  $("start-title").hidden = Boolean(model);
  $("questions-title").textContent = model ? `Ask ${entry.name}` : "Try";
  // The choice of a model is on the first page until there is a model or a conversation, and then in a dialog.
  const home = model || !chat.empty ? $("picker-away") : $("picker-home");
  if ($("picker").parentElement !== home) home.append($("picker"));
}

let watched;
host.addEventListener("change", () => {
  draw();
  // Loading another model changes nothing inside of the present one.
  if (host.model !== watched) inside.watch();
  watched = host.model;
});
host.addEventListener("lost", () => notice("The GPU was lost and the model was loaded again. The answer continues."));

const wanted = new URLSearchParams(location.search);
if (wanted.has("device")) settings.device = wanted.get("device");
build((field) => {
  if (field === undefined || field.name === "probabilities") chat.draw();
});
composer.build({ send, stop: () => chat.stop() });
scroll.watch();
$("cancel").addEventListener("click", () => host.cancel());
$("settings-button").addEventListener("click", () => $("settings").showModal());
$("settings-close").addEventListener("click", () => $("settings").close());
$("model-button").addEventListener("click", chooseModel);
$("models-close").addEventListener("click", () => $("models-dialog").close());
for (const dialog of document.querySelectorAll("dialog")) {
  // A click on the backdrop closes a dialog.
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
}
const ask = (question) => {
  if (send(question)) composer.write("");
  else composer.write(question);
};
$("question-list").append(...QUESTIONS.map((question) => button(question, () => ask(question))));

draw();
inside.watch();
picker.draw();
history.read();
install();
if (wanted.has("model")) open(entryOf(wanted.get("model")));
