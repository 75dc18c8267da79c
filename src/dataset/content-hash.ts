import { createHash } from "node:crypto";

/**
 * SHA-256 over values, told apart by their JSON (so that ["ab", "c"] and ["a", "bc"] differ). Everything random about a
 * record comes from such hashes of its content and a seed, never from its place in a file or a batch.
 */
export function contentHash(...values: (string | number | readonly number[])[]): Buffer {
	return createHash("sha256").update(JSON.stringify(values)).digest();
}
