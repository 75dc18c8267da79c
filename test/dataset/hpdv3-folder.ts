/** A folder with two image files and a data file, gone when the test is over. */
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export async function temporaryFolder(): Promise<string> {
	const folder = await realpath(await mkdtemp(join(tmpdir(), "tfjs-rft-")));
	onTestFinished(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

/** @param data the file's content; objects are written as a JSON array. */
export async function hpdv3Folder(data: string | Buffer | object[]): Promise<{ folder: string; file: string; source: string }> {
	const folder = await temporaryFolder();
	for (const image of ["a.png", "b.png"]) await writeFile(join(folder, image), image);
	const file = join(folder, "pairs.json");
	await writeFile(file, Array.isArray(data) ? JSON.stringify(data) : data);
	return { folder, file, source: `hpdv3:${file}` };
}

export const pairs = (count: number): object[] =>
	Array.from({ length: count }, (_, i) => ({ prompt: `caption ${i}`, path1: "a.png", path2: "b.png" }));

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
	const all: T[] = [];
	for await (const item of items) all.push(item);
	return all;
}
