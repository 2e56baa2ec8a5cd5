/** Addresses of models: relative ones, names on a hub, and addresses of a hub's web pages. */

/** Returns an absolute address. A worker has another base address, and a `URL` cannot be sent to it. */
export function absolute(source: string | URL): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return URL.canParse(source, base) ? new URL(source, base).href : String(source);
}

/** Address of the default model hub. */
export const HUB = "https://huggingface.co";

/** One part of a name on a hub: no leading dot, as in relative paths. */
const PART = "[A-Za-z0-9][\\w.-]*";
/** `owner/name`, which is a folder. */
const FOLDER = new RegExp(`^${PART}/${PART}$`);
/** `owner/name/file.gguf`, also in folders. */
const FILE = new RegExp(`^(${PART}/${PART})/((?:${PART}/)*${PART}\\.gguf)$`, "i");

/**
 * Returns the address of a model's file or folder. Names on the hub and addresses of its web pages (`blob/`, `tree/` or the
 * model's page) become addresses of files.
 */
export function addressOf(source: string | URL, hub: string = HUB): string {
  const base = absolute(hub).replace(/\/$/, "");
  if (typeof source === "string") {
    const [, name, file] = source.match(FILE) ?? [];
    if (file) return `${base}/${name}/resolve/main/${file}`;
    if (FOLDER.test(source) && !source.toLowerCase().endsWith(".gguf")) return `${base}/${source}/resolve/main/`;
  }
  return resolved(absolute(source), base);
}

/** Rewrites the address of a web page of the hub to that of the file or folder that it shows. */
function resolved(address: string, hub: string): string {
  if (!URL.canParse(address)) return address;
  const url = new URL(address);
  const hubs = [HUB, "https://hf.co", hub];
  const root = hubs.find((root) => address.startsWith(`${root}/`));
  if (!root) return address;
  const path = address.slice(root.length + 1).split(/[?#]/)[0] as string;
  const [, name, , kind, rest = ""] = path.match(new RegExp(`^(${PART}/${PART})(/(blob|tree|raw)/(.+?)|)/?$`)) ?? [];
  if (!name) return address;
  const folder = kind === "tree" || kind === undefined;
  return `${root}/${name}/resolve/${rest || "main"}${folder ? "/" : ""}${url.search}`;
}
