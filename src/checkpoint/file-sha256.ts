import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** The SHA-256 of a file's bytes, in hex; the file is streamed. @throws the file system's error, or the signal's */
export async function fileSha256(file: string, signal?: AbortSignal): Promise<string> {
	const hash = createHash("sha256");
	for await (const block of createReadStream(file, { highWaterMark: 2 ** 20, signal })) hash.update(block as Buffer);
	return hash.digest("hex");
}
