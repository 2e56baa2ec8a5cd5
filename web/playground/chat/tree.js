// A conversation: a tree of messages. Editing a message or generating an answer again adds a sibling, and one child of
// each message is selected. The selected messages from the root on are the conversation that is shown.

/** The parent of first messages. */
export const ROOT = "";

/** Returns an empty conversation. */
export function begin() {
  return { id: crypto.randomUUID(), title: "", system: "", updated: Date.now(), nodes: {}, selected: {}, next: 1 };
}

/** Adds a message below `parent`, selects it and returns it. */
export function add(conversation, parent, role, content = "") {
  const id = String(conversation.next++);
  const node = { id, parent, role, content };
  conversation.nodes[id] = node;
  conversation.selected[parent] = id;
  conversation.updated = Date.now();
  if (!conversation.title && role === "user") conversation.title = content.replace(/\s+/g, " ").trim().slice(0, 60);
  return node;
}

/** Returns the ids of a message's siblings, itself included, oldest first. */
export function siblings({ nodes }, { parent }) {
  return Object.values(nodes)
    .filter((node) => node.parent === parent)
    .map(({ id }) => id)
    .sort((a, b) => a - b);
}

/** Returns the selected messages from the root, up to `last` if it is given. */
export function path({ nodes, selected }, last) {
  const found = [];
  for (let node = nodes[selected[ROOT]]; node; node = nodes[selected[node.id]]) {
    found.push(node);
    if (node === last) break;
  }
  return found;
}

/** Selects the sibling `by` places after a message. Returns it, or `undefined` at the end. */
export function step(conversation, node, by) {
  const all = siblings(conversation, node);
  const id = all[all.indexOf(node.id) + by];
  if (id) conversation.selected[node.parent] = id;
  return conversation.nodes[id];
}

/** Removes a message and everything below it, and selects its newest sibling. */
export function remove(conversation, node) {
  for (const other of Object.values(conversation.nodes)) if (other.parent === node.id) remove(conversation, other);
  delete conversation.nodes[node.id];
  delete conversation.selected[node.id];
  const left = siblings(conversation, node);
  if (left.length > 0) conversation.selected[node.parent] = left.at(-1);
  else delete conversation.selected[node.parent];
}

/** Returns the messages of the chat template, up to and including `last`. */
export function messages(conversation, last) {
  const system = conversation.system.trim() ? [{ role: "system", content: conversation.system.trim() }] : [];
  return [...system, ...path(conversation, last).map(({ role, content }) => ({ role, content }))];
}

/** Returns the selected branch as Markdown. */
export function toMarkdown(conversation) {
  const { title, system } = conversation;
  const turns = path(conversation).map(({ role, content }) => `## ${role === "user" ? "You" : "Assistant"}\n\n${content.trim()}\n`);
  return [`# ${title || "Conversation"}\n`, ...(system.trim() ? [`> System: ${system.trim().replaceAll("\n", "\n> ")}\n`] : []), ...turns].join("\n");
}

/** Version of exported files. */
const VERSION = 1;

/** Returns the whole conversation, with all branches, as JSON. */
export const toJson = (conversation) => JSON.stringify({ foveate: VERSION, ...conversation }, undefined, 2);

const text = (value) => typeof value === "string";

/** Reads a conversation from JSON. Throws an `Error` that says what is wrong. */
export function fromJson(json) {
  let read;
  try {
    read = JSON.parse(json);
  } catch (error) {
    throw new Error(`the file is not JSON: ${error.message}`);
  }
  const { foveate, title, system, updated, nodes = {}, selected = {} } = read ?? {};
  if (foveate !== VERSION) throw new Error("the file is not a conversation that this page exported");
  const conversation = { ...begin(), title: text(title) ? title : "", system: text(system) ? system : "" };
  if (Number.isFinite(updated)) conversation.updated = updated;
  for (const [id, node] of Object.entries(nodes)) {
    const known = /^\d+$/.test(id) && text(node?.content) && ["user", "assistant"].includes(node.role);
    // Parents come before children, so there are no cycles.
    const below = known && (node.parent === ROOT || (node.parent in nodes && Number(node.parent) < Number(id)));
    if (!below) throw new Error(`message ${id} of the file is damaged`);
    const { finish, thinking } = node;
    conversation.nodes[id] = { id, parent: node.parent, role: node.role, content: node.content };
    if (text(finish)) conversation.nodes[id].finish = finish;
    if (thinking === true) conversation.nodes[id].thinking = true;
    conversation.next = Math.max(conversation.next, Number(id) + 1);
  }
  for (const { id, parent } of Object.values(conversation.nodes)) {
    const wanted = selected[parent];
    conversation.selected[parent] = conversation.nodes[wanted]?.parent === parent ? wanted : id;
  }
  return conversation;
}
