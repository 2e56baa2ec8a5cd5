// The plan of an op on WebGPU: its passes, each with its bindings and its WGSL.

import { $, button, copy, described, element } from "../lib/dom.js";
import { count, size } from "../lib/format.js";

const adapter = navigator.gpu?.requestAdapter().catch(() => null);

/** Returns how a pass uses the buffer of a binding: `0: q, 4.1 kB, read`. */
function binding({ arg, scratch, bytes, writes }, i, args) {
  const name = arg === undefined ? `scratch ${scratch}` : args[arg].name;
  return element("li", {}, `${i}: `, element("code", { textContent: name }), `, ${size(bytes)}, ${writes ? "written" : "read"}`);
}

function pass({ name, code, workgroups, bindings }, args) {
  const copying = button("Copy WGSL", () => copy(code, copying), { description: `Copy the WGSL of ${name}` });
  const [x, y, z] = workgroups.map((n) => n.toLocaleString("en"));
  const lines = code.split("\n").length;
  return element(
    "li",
    {},
    element("h3", {}, element("code", { textContent: name })),
    element("p", { className: "quiet", textContent: `${x} × ${y} × ${z} workgroups. Buffers of bind group 0:` }),
    element("ul", { className: "plain-list bindings" }, ...bindings.map((one, i) => binding(one, i, args))),
    element(
      "details",
      {},
      element("summary", { textContent: `WGSL, ${count(lines, "line")}` }),
      copying,
      element("pre", { tabIndex: 0, role: "region", ariaLabel: `WGSL of ${name}` }, element("code", { textContent: code })),
    ),
  );
}

let latest = 0;

/** Shows the plan of an op with these settings. A plan that is asked for later replaces it. */
export async function show(executor, op, settings) {
  const mine = ++latest;
  let [says, passes] = ["", []];
  try {
    const gpu = await adapter;
    const plan = await executor.plan(op, settings, gpu ?? undefined);
    passes = plan.passes.map((one) => pass(one, plan.args));
    const scratch = plan.scratch.reduce((sum, bytes) => sum + bytes, 0);
    const device = gpu ? "for the GPU of this device" : "for a GPU with WebGPU's default limits, as this browser has no WebGPU here";
    says = `${count(passes.length, "pass", "passes")} ${device}${scratch > 0 ? `, with ${size(scratch)} of scratch memory` : ""}.`;
  } catch (error) {
    says = `There is no plan for these settings: ${described(error)}`;
  }
  if (mine !== latest) return;
  $("plan-says").textContent = says;
  $("passes").replaceChildren(...passes);
}
