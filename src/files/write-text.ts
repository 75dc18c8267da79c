import { writeWhole } from "../checkpoint/write-whole.js";

/** Writes a text file that appears whole or not at all. */
export async function writeText(file: string, text: string): Promise<void> {
	await writeWhole(file, async (handle) => handle.writeFile(text));
}
