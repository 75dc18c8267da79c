/**
 * What reading a large data set costs, beside Python: writes an HPDv3 JSON array of 1.2 million rows, has each reader read it in a process of
 * its own, and prints rows per second of wall clock and of processor time, and the highest resident memory; the best and the median of the repeats.
 *
 *     npx tsup && npx tsx bench/stream-dataset.ts [--python python3] [--rows 1200000] [--repeats 3] [--out bench/results/stream-dataset.json]
 *
 * Python needs `pip install ijson`, whose fastest backend (yajl2_c) is a C library. Readers take turns, so that a busy machine is busy for all.
 */
import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import os, { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

const { values } = parseArgs({
	options: {
		python: { type: "string", default: "python3" },
		rows: { type: "string", default: "1200000" },
		records: { type: "string", default: "10000" },
		repeats: { type: "string", default: "3" },
		out: { type: "string", default: fileURLToPath(new URL("results/stream-dataset.json", import.meta.url)) },
	},
});

interface Cost {
	version: string;
	rows: number;
	seconds: number;
	cpuSeconds: number;
	/** Resident before reading: Node and the package. */
	startMB?: number;
	peakMB: number;
}

const OURS = ["readRows", "loadDataset", "stream-json"];
const PEERS = ["json.load", "ijson", "ijson-float"];

async function inProcess(job: string, file: string): Promise<Cost> {
	const isPeer = PEERS.includes(job);
	const script = fileURLToPath(new URL(isPeer ? "peer/peer_stream.py" : "stream/job.mjs", import.meta.url));
	const { stdout } = await promisify(execFile)(isPeer ? values.python : process.execPath, [
		script,
		job,
		file,
		...(isPeer ? [] : [values.records]),
	]);
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
	const cpuRates = costs.map(({ rows, cpuSeconds }) => rows / cpuSeconds);
	return {
		version: costs[0].version,
		rows: costs[0].rows,
		rowsPerSecond: { best: Math.round(Math.max(...rates)), median: Math.round(median(rates)) },
		rowsPerCpuSecond: { best: Math.round(Math.max(...cpuRates)), median: Math.round(median(cpuRates)) },
		...(costs[0].startMB !== undefined && { startMB: Math.round(costs[0].startMB) }),
		peakMB: Math.round(Math.max(...costs.map(({ peakMB }) => peakMB))),
	};
}

async function compare(file: string): Promise<void> {
	const jobs = [...OURS, ...PEERS];
	const costs: Record<string, Cost[]> = Object.fromEntries(jobs.map((job) => [job, []]));
	for (let repeat = 0; repeat < Number(values.repeats); repeat++) {
		for (const job of jobs) costs[job].push(await inProcess(job, file));
	}
	const readers = Object.fromEntries(jobs.map((job) => [job, summary(costs[job])]));
	const times = (peer: string, rate: "rowsPerSecond" | "rowsPerCpuSecond") =>
		Number((readers.readRows[rate].best / readers[peer][rate].best).toFixed(2));
	const result = {
		machine: `${os.cpus().length} × ${os.cpus()[0].model}, shared with other work: load ${os.loadavg()[0].toFixed(1)} at the end`,
		date: new Date().toISOString().slice(0, 10),
		bytes: (await stat(file)).size,
		readers,
		readRowsAgainst: Object.fromEntries(
			["stream-json", ...PEERS].map((peer) => [peer, { wall: times(peer, "rowsPerSecond"), cpu: times(peer, "rowsPerCpuSecond") }]),
		),
	};
	console.log(JSON.stringify(result, null, "\t"));
	await mkdir(dirname(values.out), { recursive: true });
	await writeFile(values.out, `${JSON.stringify(result, null, "\t")}\n`);
}

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
