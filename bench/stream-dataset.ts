/**
 * What reading a large data set costs, beside Python: writes an HPDv3 JSON array of 1.2 million rows, has each reader read it in a process of
 * its own, and prints rows per second, processor time and the highest resident memory; minimum and median of the repeats.
 *
 *     npx tsx bench/stream-dataset.ts [--python python3] [--rows 1200000] [--repeats 3] [--out bench/results/stream-dataset.json]
 *
 * Python needs `pip install ijson`, whose fastest backend (yajl2_c) is a C library. Readers take turns, so that a busy machine is busy for all.
 */
import { execFile } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import os, { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { loadDataset, readRows } from "../src/index.js";

const { values } = parseArgs({
	options: {
		python: { type: "string", default: "python3" },
		rows: { type: "string", default: "1200000" },
		records: { type: "string", default: "10000" },
		repeats: { type: "string", default: "3" },
		out: { type: "string", default: fileURLToPath(new URL("results/stream-dataset.json", import.meta.url)) },
		job: { type: "string" },
		file: { type: "string", default: "" },
	},
});

interface Cost {
	version: string;
	rows: number;
	seconds: number;
	cpuSeconds: number;
	/** Resident before reading: the program, its packages and the TypeScript loader. */
	startMB?: number;
	peakMB: number;
}

/** `readRows` is what Python's readers do; `loadDataset` also checks rows and looks up the two images of each. */
const JOBS: Readonly<Record<string, (file: string) => AsyncIterable<unknown>>> = {
	readRows,
	loadDataset: (file) => loadDataset(`hpdv3:${file}`, { limit: Number(values.records) }),
	async *"stream-json"(file) {
		const { streamArray } = await import("stream-json/streamers/stream-array.js");
		const { createReadStream } = await import("node:fs");
		const elements = createReadStream(file).pipe(streamArray.withParserAsStream({ streamValues: false }));
		yield* elements as AsyncIterable<unknown>;
	},
};
const PEERS = ["json.load", "ijson", "ijson-float"];

async function measure(job: string, file: string): Promise<Cost> {
	const [started, cpu, startMB] = [performance.now(), process.cpuUsage(), process.memoryUsage().rss / 2 ** 20];
	let rows = 0;
	for await (const row of JOBS[job](file)) if (row) rows++;
	const { user, system } = process.cpuUsage(cpu);
	const peakMB = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
	return {
		version: `Node ${process.version}`,
		rows,
		seconds: (performance.now() - started) / 1000,
		cpuSeconds: (user + system) / 1e6,
		startMB,
		peakMB,
	};
}

async function inProcess(job: string, file: string): Promise<Cost> {
	const script = fileURLToPath(new URL(PEERS.includes(job) ? "peer/peer_stream.py" : "stream-dataset.ts", import.meta.url));
	const [command, args] = PEERS.includes(job)
		? [values.python, [script, job, file]]
		: [process.execPath, ["--import", "tsx", script, "--job", job, "--file", file, "--records", values.records]];
	const { stdout } = await promisify(execFile)(command, args);
	return JSON.parse(stdout);
}

/** Folders, one for each generator, as HPDv3 has them, and images in each. */
const [FOLDERS, IMAGES] = [4, 250];
const imageOf = (i: number) => `images/model-${i % FOLDERS}/${Math.floor(i / FOLDERS) % IMAGES}.jpg`;

/** Rows of the length that HPDv3's have. */
function* rows(count: number): Generator<string> {
	const text =
		"a photograph of two red circles on a wooden table, in soft morning light, with the grain of old oak and a shadow to the left; 8k";
	for (let i = 0; i < count; i++) {
		const paths = { path1: imageOf(i), path2: imageOf(i + 1) };
		const row = {
			prompt: `${i}: ${text}`,
			choice_dist: [12, 7],
			confidence: 0.9999907246439,
			...paths,
			model1: "flux",
			model2: "infinity",
		};
		yield `${i === 0 ? "[\n" : ",\n"}${JSON.stringify(row)}`;
	}
	yield "\n]\n";
}

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

function summary(costs: Cost[]) {
	const rates = costs.map(({ rows, seconds }) => rows / seconds);
	return {
		version: costs[0].version,
		rows: costs[0].rows,
		rowsPerSecond: { best: Math.round(Math.max(...rates)), median: Math.round(median(rates)) },
		rowsPerCpuSecond: Math.round(Math.max(...costs.map(({ rows, cpuSeconds }) => rows / cpuSeconds))),
		...(costs[0].startMB !== undefined && { startMB: Math.round(costs[0].startMB) }),
		peakMB: Math.round(Math.max(...costs.map(({ peakMB }) => peakMB))),
	};
}

async function compare(file: string): Promise<void> {
	const jobs = [...Object.keys(JOBS), ...PEERS];
	const costs: Record<string, Cost[]> = Object.fromEntries(jobs.map((job) => [job, []]));
	for (let repeat = 0; repeat < Number(values.repeats); repeat++) {
		for (const job of jobs) costs[job].push(await inProcess(job, file));
	}
	const readers = Object.fromEntries(jobs.map((job) => [job, summary(costs[job])]));
	const times = (peer: string) => Number((readers.readRows.rowsPerCpuSecond / readers[peer].rowsPerCpuSecond).toFixed(2));
	const result = {
		machine: `${os.cpus().length} × ${os.cpus()[0].model}, shared with other work; processor time is what compares`,
		date: new Date().toISOString().slice(0, 10),
		bytes: (await stat(file)).size,
		readers,
		readRowsPerCpuSecondAgainst: Object.fromEntries(["stream-json", ...PEERS].map((peer) => [peer, times(peer)])),
	};
	console.log(JSON.stringify(result, null, "\t"));
	await mkdir(dirname(values.out), { recursive: true });
	await writeFile(values.out, `${JSON.stringify(result, null, "\t")}\n`);
}

if (values.job !== undefined) {
	console.log(JSON.stringify(await measure(values.job, values.file)));
} else {
	const folder = await mkdtemp(join(tmpdir(), "rft-stream-"));
	try {
		const picture = fileURLToPath(new URL("../examples/data/heldout/0000a.jpg", import.meta.url));
		for (let i = 0; i < FOLDERS * IMAGES; i++) {
			const image = join(folder, imageOf(i));
			await mkdir(dirname(image), { recursive: true });
			await copyFile(picture, image);
		}
		const file = join(folder, "hpdv3.json");
		await pipeline(Readable.from(rows(Number(values.rows))), createWriteStream(file));
		await compare(file);
	} finally {
		await rm(folder, { recursive: true });
	}
}
