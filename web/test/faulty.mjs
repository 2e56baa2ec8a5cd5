// A server of files that fails as networks fail.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

const PAGE = Buffer.from("<!DOCTYPE html>\n<title>Welcome to our Wi-Fi</title><p>Please log in.</p>\n");

/**
 * Serves files, a map of paths to bytes, with ETags, on a free port. `on(request, count)` may return a fault of the response
 * to a request; `count` is the number of earlier requests of the same path and method:
 *
 * - `status`, `headers`: another status, further headers;
 * - `html`: a web page in place of the file; `redirect`: a redirect to another path;
 * - `body`: other bytes; `etag`: another ETag (`null` for none);
 * - `ranges: false`: ignores Range headers; `gzip`: also compresses the response;
 * - `from`: says and sends that the range begins here; `short`: says and sends that it has so many bytes less;
 * - `cut`: drops the connection after so many bytes; `hang`: sends nothing more after so many bytes, -1 for not even a head;
 * - `trickle`: sends pieces of so many bytes, 100 ms apart;
 * - `cors: false`: no CORS headers; `expose: false`: no header that CORS must expose.
 */
export async function faulty(files) {
  const state = { files, on: () => undefined, requests: [] };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const { method, headers } = request;
    const count = state.requests.filter((earlier) => earlier.path === path && earlier.method === method).length;
    const asked = { path, method, range: headers.range, authorization: headers.authorization };
    const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "authorization, range, cache-control, pragma" };
    if (method === "OPTIONS") return response.writeHead(204, cors).end();
    state.requests.push(asked);
    const fault = state.on(asked, count) ?? {};
    const shared = fault.cors === false ? {} : { ...cors, ...(fault.expose === false ? {} : { "Access-Control-Expose-Headers": "*" }) };
    if (fault.hang === -1) return;
    const file = fault.body ?? state.files.get(path);
    const status = fault.status ?? (file || fault.html || fault.redirect ? 200 : 404);
    if (status !== 200) return response.writeHead(status, { ...shared, "Content-Type": "text/plain", ...fault.headers }).end(`${status}\n`);
    if (fault.redirect) return response.writeHead(302, { ...shared, Location: fault.redirect }).end();
    if (fault.html) return response.writeHead(200, { ...shared, "Content-Type": "text/html" }).end(method === "HEAD" ? undefined : PAGE);
    const etag = fault.etag === undefined ? `"${createHash("sha256").update(file).digest("hex").slice(0, 16)}"` : fault.etag;
    const said = { ...shared, "Content-Type": "application/octet-stream", "Cache-Control": "no-store", ...(etag ? { ETag: etag } : {}), ...fault.headers };
    let bytes = file;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "") ?? [];
    const ranged = first !== undefined && fault.ranges !== false && !fault.gzip && method === "GET";
    if (ranged) {
      if (Number(first) >= file.length) return response.writeHead(416, { ...said, "Content-Range": `bytes */${file.length}` }).end();
      const from = fault.from ?? Number(first);
      const to = Math.min(last ? Number(last) : file.length - 1, file.length - 1) - (fault.short ?? 0);
      bytes = file.subarray(from, to + 1);
      said["Content-Range"] = `bytes ${from}-${to}/${file.length}`;
    }
    if (fault.gzip) [bytes, said["Content-Encoding"]] = [gzipSync(file), "gzip"];
    said["Content-Length"] = bytes.length;
    response.writeHead(ranged ? 206 : 200, said);
    if (method === "HEAD") return response.end();
    const stop = fault.cut ?? fault.hang;
    if (stop !== undefined && stop < bytes.length) {
      response.write(bytes.subarray(0, stop), () => fault.cut !== undefined && setTimeout(() => response.destroy(), 50));
      return;
    }
    for (let at = 0; fault.trickle && at < bytes.length; at += fault.trickle) {
      response.write(bytes.subarray(at, at + fault.trickle));
      await new Promise((done) => setTimeout(done, 100));
    }
    response.end(fault.trickle ? undefined : bytes);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  const close = () => (server.closeAllConnections(), new Promise((done) => server.close(done)));
  return Object.assign(state, { url: `http://localhost:${port}`, close });
}
