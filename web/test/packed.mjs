// Packs the package, and installs it in empty projects.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const web = fileURLToPath(new URL("..", import.meta.url));

/** Bun's program for this machine; npm installs one package for each kind of machine. */
const ovens = join(web, "node_modules/@oven");
export const bun = join(ovens, existsSync(ovens) ? (readdirSync(ovens)[0] ?? "") : "", "bin/bun");

const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

/** Returns a new folder with a project of each name, and what `npm pack` says of the package. */
export function packed(...names) {
  const root = mkdtempSync(join(tmpdir(), "foveate-"));
  const [{ filename, files, size }] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", root], web));
  for (const name of names) {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, "package.json"), '{ "private": true, "type": "module" }\n');
    npm(["install", "--offline", "--no-audit", "--no-fund", join(root, filename)], join(root, name));
  }
  return { root, paths: files.map(({ path }) => path), size };
}

/** A page's script: `window.answer(source, prompt, options)` returns the tokens of a model, or the error. */
export const MAIN = (load = "load(source, { device: 'cpu', ...options })") => `import { load } from "foveate";
window.answer = async (source, prompt, options) => {
  try {
    const model = await ${load};
    const ids = [];
    for await (const { id } of model.generateTokens(prompt, { maxTokens: 4 })) ids.push(id);
    model.dispose();
    return { ids, device: model.device };
  } catch ({ name, code, message }) {
    return { name, code, message };
  }
};
`;

export const HTML = (script) => `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`;
