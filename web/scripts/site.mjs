// Builds the playground as a static site, which any host can serve: `site/`, or the folder that is given.
//
// usage: npm run build:site [-- FOLDER]        needs `npm run build` before
//
// Vite bundles the pages. `_headers` isolates the pages on hosts that read it (Netlify, Cloudflare Pages); elsewhere the
// service worker does.

import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const playground = join(web, "playground");
const out = resolve(process.argv[2] ?? join(web, "site"));

for (const needed of ["dist/index.js", "pkg/foveate_bg.wasm"]) {
  if (!existsSync(join(web, needed))) throw new Error(`${needed} is missing: run \`npm run build\` first`);
}

/** Removes the import map, which only unbundled pages need, and names the service worker. */
const pages = {
  name: "pages",
  transformIndexHtml: (html) =>
    html
      .replace(/<script type="importmap">[\s\S]*?<\/script>/, "")
      .replace("</title>", '</title>\n    <meta name="service-worker" content="sw.js" />'),
};

await build({
  root: playground,
  base: "./",
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  plugins: [pages],
  resolve: { alias: { foveate: join(web, "dist", "index.js") } },
  worker: { format: "es" },
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // Threads load the wasm by its address.
    assetsInlineLimit: 0,
    rollupOptions: { input: ["index.html", "kernels.html", "tools.html"].map((page) => join(playground, page)) },
  },
});

// The manifest's addresses are relative to it, so it stays at the root with its icons; the theme is set before the first frame.
for (const name of ["theme.js", "app.webmanifest", "mark.svg", "icon-192.png", "icon-512.png"]) cpSync(join(playground, name), join(out, name));

/** Packages whose code is part of the site. Their licences ask for a copy of the text. */
const BUNDLED = ["marked", "dompurify", "temml", "@highlightjs/cdn-assets"];

/** Returns name, version and licence of a package. */
function licence(name) {
  const folder = join(web, "node_modules", name);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8")}`;
}

writeFileSync(join(out, "licences.txt"), BUNDLED.map(licence).join("\n\n"));

/** Returns the paths of all files below a folder. */
const below = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? below(path) : [path];
  });

const files = below(out)
  .map((path) => relative(out, path).split(sep).join("/"))
  .sort();
const version = createHash("sha256");
for (const file of files) version.update(file).update(readFileSync(join(out, file)));
const worker = readFileSync(join(playground, "sw.js"), "utf8");
const list = `const [FILES, VERSION] = ${JSON.stringify([files, version.digest("hex").slice(0, 16)])};`;
const written = worker.replace(/^const \[FILES, VERSION\] = .*$/m, () => list);
if (written === worker) throw new Error("playground/sw.js has no line for FILES and VERSION");
writeFileSync(join(out, "sw.js"), written);
writeFileSync(
  join(out, "_headers"),
  `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  X-Content-Type-Options: nosniff
/assets/*
  Cache-Control: public, max-age=31536000, immutable
/sw.js
  Cache-Control: no-cache
`,
);

const bytes = (ending) => files.filter((file) => file.endsWith(ending)).map((file) => [file, gzipSync(readFileSync(join(out, file))).length]);
for (const [file, gzipped] of [...bytes(".js"), ...bytes(".wasm")]) {
  console.log(`${file}: ${statSync(join(out, file)).size} bytes, ${gzipped} gzipped`);
}
console.log(`the site is in ${out}`);
