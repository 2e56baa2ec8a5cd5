/** Violations of the Content-Security-Policy of this page or worker. */

/** The part of a `SecurityPolicyViolationEvent` that is used here. */
interface Violation {
  readonly blockedURI: string;
  readonly effectiveDirective: string;
}

const violations: Violation[] = [];
let listening = false;

/** Records the requests that the Content-Security-Policy of this thread blocks from now on. */
export function watchPolicy(): void {
  if (listening) return;
  listening = true;
  globalThis.addEventListener?.("securitypolicyviolation", (event) => {
    const { blockedURI, effectiveDirective } = event as unknown as Violation;
    violations.push({ blockedURI, effectiveDirective });
    if (violations.length > 20) violations.shift();
  });
}

/** Returns the directive of the Content-Security-Policy that blocked an address. `kind` is a part of the directive's name. */
export async function blockedBy(address: string, kind: string): Promise<string | undefined> {
  // The event is fired after the request has failed.
  await new Promise((resolve) => setTimeout(resolve));
  const { origin } = URL.canParse(address) ? new URL(address) : { origin: address };
  const fits = ({ blockedURI, effectiveDirective }: Violation) =>
    effectiveDirective.includes(kind) && (blockedURI.startsWith(origin) || address.startsWith(blockedURI));
  return violations.filter(fits).at(-1)?.effectiveDirective;
}
