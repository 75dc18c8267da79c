/**
 * Reads a data file in one way and prints what it cost as one line of JSON: bench/stream-dataset.ts runs it. By the built package, as a user imports
 * it (`npx tsup` first).
 *
 *     node bench/stream/job.mjs readRows|loadDataset|stream-json FILE RECORDS
 */
import { createReadStream, readFileSync } from "node:fs";

const [job, file, records] = process.argv.slice(2);

/** `readRows` is what Python's readers do; `loadDataset` also checks rows and looks up the two images of each. */
const JOBS = {
	async readRows() {
		const { readRows } = await import("tfjs-rft");
		return readRows(file);
	},
	async loadDataset() {
		const { loadDataset } = await import("tfjs-rft");
		return loadDataset(`hpdv3:${file}`, { limit: Number(records) });
	},
	async "stream-json"() {
		const { streamArray } = await import("stream-json/streamers/stream-array.js");
		return createReadStream(file).pipe(streamArray.withParserAsStream({ streamValues: false }));
	},
};

const opened = await JOBS[job]();
const [started, cpu, startMB] = [performance.now(), process.cpuUsage(), process.memoryUsage().rss / 2 ** 20];
let rows = 0;
for await (const row of opened) if (row) rows++;
const [seconds, { user, system }] = [(performance.now() - started) / 1000, process.cpuUsage(cpu)];
const peakMB = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
console.log(JSON.stringify({ version: `Node ${process.version}`, rows, seconds, cpuSeconds: (user + system) / 1e6, startMB, peakMB }));
