/**
 * A JSON file of a checkpoint folder, its place named where it can't be read.
 */
import { readFile } from "node:fs/promises";

/**
 * @returns the parsed value, or undefined where there is no such file
 * @throws Error that names the file if it is there and can't be read or is not JSON.
 */
export async function readJsonFile(file: string): Promise<unknown> {
	const text = await readTextFile(file);
	if (text === undefined) return undefined;
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw new Error(`${file}: not JSON (${cause instanceof Error ? cause.message : cause}); fetch it again`, { cause });
	}
}

/** The file's text, or undefined where there is no such file. */
export async function readTextFile(file: string): Promise<string | undefined> {
	try {
		return await readFile(file, "utf8");
	} catch (cause) {
		if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
		throw new Error(`${file}: can't be read (${cause instanceof Error ? cause.message : cause})`, { cause });
	}
}
