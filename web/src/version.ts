/** Versions of a file on a server. */

/** Values by which a server tells versions of a file apart. */
export interface Version {
  readonly size?: number | undefined;
  readonly etag?: string | undefined;
  readonly modified?: string | undefined;
}

/** A version whose size is known. */
export type SizedVersion = Version & { readonly size: number };

/** Returns an entity tag without the marks of weak tags and of compressed responses. */
const plain = (etag: string | null) => etag?.replace(/^W\//, "").replace(/-(gzip|br|zstd)"$/, '"') || undefined;

/** Returns the version of a file, from the headers that the page may see. */
export function versionOf(response: Response): Version {
  const total = response.headers.get("Content-Range")?.match(/\/(\d+)$/)?.[1];
  const length = response.status === 200 && !response.headers.has("Content-Encoding") ? response.headers.get("Content-Length") : null;
  const size = total ?? length;
  return {
    ...(size ? { size: Number(size) } : {}),
    etag: plain(response.headers.get("ETag")),
    modified: response.headers.get("Last-Modified") ?? undefined,
  };
}

/** Returns `false` if two versions certainly differ. The size is compared if `sizes` is `true`. */
export function sameVersion(a: Version, b: Version, sizes = true): boolean {
  if (sizes && a.size !== undefined && b.size !== undefined && a.size !== b.size) return false;
  // Several servers behind one address may each have a tag of their own for the same file.
  if (a.size !== undefined && a.size === b.size && a.modified && a.modified === b.modified) return true;
  if (a.etag && b.etag) return a.etag === b.etag;
  return !a.modified || !b.modified || a.modified === b.modified;
}
