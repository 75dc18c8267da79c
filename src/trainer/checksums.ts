/** `checksums.json` of a checkpoint folder: size and SHA-256 of every file in it, so that damage is found before it is trained on. */
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { fileSha256 } from "../checkpoint/file-sha256.js";
import { writeWhole } from "../checkpoint/write-whole.js";

const CHECKSUMS_FILE = "checksums.json";

const checksums = z.record(z.string(), z.object({ bytes: z.int(), sha256: z.string() }));

/** Reads every file of the folder and writes their checksums beside them. */
export async function writeChecksums(dir: string): Promise<void> {
	const sums: z.infer<typeof checksums> = {};
	for (const name of (await readdir(dir)).sort()) {
		const file = path.join(dir, name);
		sums[name] = { bytes: (await stat(file)).size, sha256: await fileSha256(file) };
	}
	await writeWhole(path.join(dir, CHECKSUMS_FILE), (file) => file.writeFile(`${JSON.stringify(sums, null, 1)}\n`));
}

/**
 * @returns what is wrong with the folder's files, for a person; undefined where each is as it was written. Files that came later are not
 *   looked at.
 */
export async function findDamage(dir: string): Promise<string | undefined> {
	const file = path.join(dir, CHECKSUMS_FILE);
	let sums: z.infer<typeof checksums>;
	try {
		sums = checksums.parse(JSON.parse(await readFile(file, "utf8")));
	} catch (error) {
		return `${file}: ${(error as Error).message}; expected the checksums of a checkpoint-<step> folder`;
	}
	for (const [name, expected] of Object.entries(sums)) {
		const damaged = path.join(dir, name);
		const bytes = await stat(damaged).then(
			({ size }) => size,
			() => undefined,
		);
		if (bytes === undefined) return `${damaged} is missing`;
		if (bytes !== expected.bytes) return `${damaged} has ${bytes} bytes, expected ${expected.bytes}`;
		const found = await fileSha256(damaged);
		if (found !== expected.sha256) return `${damaged} has SHA-256 ${found.slice(0, 12)}…, expected ${expected.sha256.slice(0, 12)}…`;
	}
	return undefined;
}
