/**
 * Images that came inside a data file, as files: judges, filters and exports take paths. A file is named by the hash of its content, so the same
 * image is stored once, however often and from wherever it is read, and no name from outside becomes a path.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import type { EmbeddedFile } from "../files/read-tar-rows.js";

/** Hexadecimal SHA-256. */
export const imageDigest = ({ bytes }: EmbeddedFile) => createHash("sha256").update(bytes).digest("hex");

/**
 * Writes the image unless it is there, whole or not at all.
 * @param digest of its bytes
 * @returns its path in `folder`
 */
export async function storeImage({ path, bytes }: EmbeddedFile, digest: string, folder: string): Promise<string> {
	const suffix = extname(path).toLowerCase();
	const file = join(folder, digest.slice(0, 2), `${digest}${/^\.[a-z0-9]{1,5}$/.test(suffix) ? suffix : ""}`);
	const there = await stat(file).catch(() => undefined);
	if (there?.size === bytes.byteLength) return file;
	await mkdir(dirname(file), { recursive: true });
	const partial = `${file}.${randomUUID()}`;
	await writeFile(partial, bytes);
	await rename(partial, file);
	return file;
}
