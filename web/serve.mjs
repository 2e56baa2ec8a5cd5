// A small file server for the playground and the tests.
//
// usage: npm start [-- PORT [FOLDER]]       FOLDER is served at /models/

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL(".", import.meta.url));

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".ts": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

/** Headers that make a page cross-origin isolated. */
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/** Headers that let pages of other origins read a file. */
const SHARED = { "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin" };

/** Returns the file of a path in `mounts`, `{ "/prefix/": folder }`. The longest prefix wins. */
function locate(mounts, path) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length);
  const prefix = prefixes.find((p) => path.startsWith(p));
  if (prefix === undefined) return undefined;
  const folder = resolve(mounts[prefix]);
  const file = resolve(join(folder, path.slice(prefix.length)));
  return file === folder || file.startsWith(folder + sep) ? file : undefined;
}

/** Returns the first and last byte of a Range header; `undefined` without a range. */
function range(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (!match[1] && !match[2])) return undefined;
  const start = match[1] ? Number(match[1]) : Math.max(0, size - Number(match[2]));
  const end = match[1] && match[2] ? Math.min(Number(match[2]), size - 1) : size - 1;
  return { start, end };
}

/**
 * Serves folders on localhost, on `port` or a free port. `on(request)` may return an object that changes the response:
 *
 * - `ranges: false` ignores Range headers;
 * - `status` fails with a status;
 * - `delay` waits, in ms;
 * - `isolated: true` makes the page cross-origin isolated;
 * - `shared: true` lets pages of other origins read the file.
 */
export async function serve({ mounts = { "/": web }, port = 0, on = () => undefined } = {}) {
  const server = createServer(async (request, response) => {
    const fail = (status) => response.writeHead(status, { "Content-Type": "text/plain" }).end(`${status}\n`);
    try {
      const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
      const { ranges = true, status, delay = 0, isolated, shared } = on({ path, headers: request.headers, method: request.method }) ?? {};
      if (delay) await new Promise((done) => setTimeout(done, delay));
      if (status) return fail(status);
      if (path === "/") return response.writeHead(302, { Location: "/playground/" }).end();
      let file = locate(mounts, path);
      if (file && path.endsWith("/")) file = join(file, "index.html");
      const found = file && (await stat(file).catch(() => undefined));
      if (!found?.isFile()) return fail(404);
      const headers = {
        "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
        "Cache-Control": "no-store",
        ...(ranges ? { "Accept-Ranges": "bytes" } : {}),
        ...(isolated ? ISOLATED : {}),
        ...(shared ? SHARED : {}),
      };
      const part = ranges ? range(request.headers.range, found.size) : undefined;
      const { start, end } = part ?? { start: 0, end: found.size - 1 };
      if (part && start >= found.size) {
        return response.writeHead(416, { "Content-Range": `bytes */${found.size}` }).end();
      }
      headers["Content-Length"] = Math.max(0, end - start + 1);
      if (part) headers["Content-Range"] = `bytes ${start}-${end}/${found.size}`;
      response.writeHead(part ? 206 : 200, headers);
      if (request.method === "HEAD" || found.size === 0) return response.end();
      createReadStream(file, { start, end }).on("error", () => response.destroy()).pipe(response);
    } catch {
      fail(400);
    }
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  return {
    url: `http://localhost:${server.address().port}`,
    close: () => (server.closeAllConnections(), new Promise((done) => server.close(done))),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = "8000", folder] = process.argv.slice(2);
  const mounts = { "/": web, ...(folder ? { "/models/": resolve(folder) } : {}) };
  // Isolated pages share memory with workers, so the CPU uses several threads.
  const { url } = await serve({ mounts, port: Number(port), on: () => ({ isolated: true }) });
  console.log(`the playground is at ${url}/playground/`);
}
