// Installs the service worker of a built site (scripts/site.mjs): it keeps the page for use without a network, and isolates
// it where the host cannot set headers. The page that `npm start` serves has none.

import { notice, button } from "../lib/dom.js";

export async function install() {
  const script = document.querySelector('meta[name="service-worker"]')?.content;
  const { serviceWorker } = navigator;
  if (!script || !serviceWorker) return;
  try {
    const had = Boolean(serviceWorker.controller);
    // A page that is not isolated yet is, once the worker answers for it: threads make the CPU faster.
    serviceWorker.addEventListener("controllerchange", () => {
      if (!had && !crossOriginIsolated && !sessionStorage.getItem("foveate.isolating")) {
        sessionStorage.setItem("foveate.isolating", "1");
        location.reload();
      } else if (had) notice("A new version of this page is ready.", { actions: [button("Reload", () => location.reload())] });
    });
    await serviceWorker.register(script);
  } catch (error) {
    console.warn(`foveate: works only with a network: ${error}`);
  }
}
