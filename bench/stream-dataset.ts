/**
 * What streaming a large data set costs: writes an HPDv3 JSON array of about 1 GB, reads it with `loadDataset`, and prints rows per second
 * and the highest resident memory.
 *
 *     npx tsx bench/stream-dataset.ts [--gigabytes 1] [--out bench/results/stream-dataset.json]
 */
import { createWriteStream, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import os, { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadDataset } from "../src/index.js";

const { values } = parseArgs({
	options: {
		gigabytes: { type: "string", default: "1" },
		out: { type: "string", default: fileURLToPath(new URL("results/stream-dataset.json", import.meta.url)) },
	},
});
const peakMegabytes = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

/** Rows as HPDv3 has them, with prompts of about a thousand characters. */
function* rows(bytes: number): Generator<string> {
	let written = 0;
	for (let i = 0; written < bytes; i++) {
		const prompt = `${i}: ${"a photograph of two red circles on a wooden table, in soft morning light; ".repeat(13)}`;
		const row = { prompt, choice_dist: [9, 3], confidence: 0.75, path1: "a.jpg", path2: "b.jpg", model1: "x", model2: "y" };
		const text = `${i === 0 ? "[\n" : ",\n"}${JSON.stringify(row)}`;
		written += text.length;
		yield text;
	}
	yield "\n]\n";
}

const folder = await mkdtemp(join(tmpdir(), "rft-stream-"));
try {
	const picture = fileURLToPath(new URL("../examples/data/heldout/0000a.jpg", import.meta.url));
	for (const name of ["a.jpg", "b.jpg"]) await copyFile(picture, join(folder, name));
	const file = join(folder, "hpdv3.json");
	await pipeline(Readable.from(rows(Number(values.gigabytes) * 1e9)), createWriteStream(file));
	const started = performance.now();
	let count = 0;
	for await (const record of loadDataset(`hpdv3:${file}`, { order: "random" })) if (record.prompt) count++;
	const seconds = (performance.now() - started) / 1000;
	const result = {
		machine: `${os.cpus().length} × ${os.cpus()[0].model}, Node ${process.version}`,
		bytes: (await stat(file)).size,
		rows: count,
		seconds: Number(seconds.toFixed(1)),
		rowsPerSecond: Math.round(count / seconds),
		peakResidentMB: Math.round(peakMegabytes()),
	};
	console.log(result);
	await mkdir(dirname(values.out), { recursive: true });
	await writeFile(values.out, `${JSON.stringify(result, null, "\t")}\n`);
} finally {
	await rm(folder, { recursive: true });
}
