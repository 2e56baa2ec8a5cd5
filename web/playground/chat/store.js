// Conversations kept in IndexedDB. Without it, such as in some private windows, they last as long as the page.

const [NAME, TABLE] = ["foveate", "conversations"];

let opening;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab blocks the conversations: close it"));
  });
  return opening;
}

/** Runs one request on the table. */
async function run(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(TABLE, mode);
    const request = act(transaction.objectStore(TABLE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Returns all conversations, the newest first. */
export async function list() {
  const all = await run("readonly", (table) => table.getAll());
  return all.sort((a, b) => b.updated - a.updated);
}

/** Keeps a conversation as it is now. */
export const put = (conversation) => run("readwrite", (table) => table.put(structuredClone(conversation)));

/** Deletes a conversation. */
export const drop = (id) => run("readwrite", (table) => table.delete(id));
