// The service worker of a built site. scripts/site.mjs writes FILES and VERSION.
//
// Files of the site are answered from a cache, so the page opens without a network. Every answer gets the headers that
// isolate a page, for hosts that cannot set them; isolated pages may use threads. Models are kept by the package itself.

const [FILES, VERSION] = [[], "development"];
const CACHE = `site-${VERSION}`;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** Returns the address of a file as it is kept: without a query, and a folder as its page. */
function key(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname.replace(/\/$/, "/index.html");
}

function isolated(response) {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

async function install() {
  const cache = await caches.open(CACHE);
  await Promise.all(
    FILES.map(async (file) => {
      const url = new URL(file, registration.scope).href;
      const response = await fetch(url, { cache: "no-cache" });
      if (!response.ok) throw new Error(`${url}: ${response.status}`);
      await cache.put(key(url), response);
    }),
  );
  await skipWaiting();
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("site-") && name !== CACHE).map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(key(request.url));
  return isolated(kept ?? (await fetch(request)));
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || request.headers.has("range")) return;
  event.respondWith(answer(request));
});
