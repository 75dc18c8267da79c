import { contentHash } from "./content-hash.js";

/**
 * A record's key: 16 hex digits of the SHA-256 over its caption, its two image paths *as written* in the data file (`sha256:…` of an image that the
 * data file itself holds), which is preferred, and by what, where that is said. The same row has the same key in any file, at any place, under
 * any image root; it does not depend on the shown order. Two rows with the same content share a key, and so their random streams.
 */
export function keyOf({
	prompt,
	paths,
	preferred,
	criteria,
}: {
	prompt: string;
	paths: readonly [string, string];
	preferred: 0 | 1;
	criteria?: string;
}): string {
	const values = ["record", prompt, paths[0], paths[1], preferred, ...(criteria === undefined ? [] : [criteria])];
	return contentHash(...values)
		.toString("hex")
		.slice(0, 16);
}
