import { contentHash } from "./content-hash.js";

/**
 * A record's key: 16 hex digits of the SHA-256 over its caption, its two image paths *as written* in the data file and which is
 * preferred. The same row has the same key in any file, at any place, under any image root; it does not depend on the
 * shown order. Two rows with the same content share a key, and so their random streams.
 */
export function keyOf({ prompt, paths, preferred }: { prompt: string; paths: readonly [string, string]; preferred: 0 | 1 }): string {
	return contentHash("record", prompt, paths[0], paths[1], preferred).toString("hex").slice(0, 16);
}
