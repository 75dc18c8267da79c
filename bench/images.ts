/**
 * JPEG to pixel values: images per second of this library and of transformers' image processors in the same session, and how long the event
 * loop is deaf meanwhile.
 *
 *     npx tsx bench/images.ts                                       this library alone
 *     npx tsx bench/images.ts --peer bench/.venv/bin/python         and the Python peer (bench/speed.ts says how to make it), with ratios
 *     options: --rounds 3   --reps 12   --maxPixels 282240   --out bench/results/images.json
 *
 * Every run is a process of its own, and runs alternate. Minima are compared: these machines are noisy. The peer is taken in the best of three
 * ways (peer_images.py). `javascript` is this library where setup could not compile its addon.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os, { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import sharp from "sharp";
import { loadProcessor } from "../src/index.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
	options: {
		peer: { type: "string" },
		rounds: { type: "string", default: "3" },
		maxPixels: { type: "string", default: "282240" },
		out: { type: "string", default: here("results/images.json") },
		reps: { type: "string", default: "12" },
		job: { type: "string" },
		folder: { type: "string" },
	},
});
const maxPixels = Number(values.maxPixels);

/** Made from the photographs of the examples' data generator. */
const SPEED_FILES = { "1024x1024.jpg": "astronaut.jpg", "512x768.jpg": "coffee.jpg" };
const LARGE_FILE = "4000x3000.jpg";
const LARGE_IMAGES = 20;
/** As many as the sampler encodes ahead: four records of two images. */
const AT_ONCE = 8;
const SCHEDSTAT = "/proc/self/schedstat";

/** Seconds per image. `cpu` is the processor time of all threads, the median run's: a shared machine disturbs it least. */
interface Measured {
	min: number;
	median: number;
	cpu: number;
}
/** Of a file, by a way of calling. */
type Speeds = Record<string, Record<string, Measured>>;

const median = (samples: number[]) => [...samples].sort((a, b) => a - b)[samples.length >> 1];

async function makeImages(folder: string): Promise<void> {
	const files: Record<string, string> = { ...SPEED_FILES, [LARGE_FILE]: "hubble_deep_field.jpg" };
	for (const [name, photo] of Object.entries(files)) {
		const [width, height] = name.split(/[x.]/).map(Number);
		const image = sharp(here(`../examples/data-generator/photos/${photo}`)).resize(width, height, { fit: "fill" });
		await image.jpeg({ quality: 90 }).toFile(join(folder, name));
	}
}

async function openImageProcessor() {
	return (await loadProcessor(here("../examples/judge"), { minPixels: 3136, maxPixels })).imageProcessor;
}

/** One image after the other, and eight at once. */
async function speedJob(folder: string): Promise<Speeds> {
	const processor = await openImageProcessor();
	const time = async (images: number, bytes: Buffer) => {
		const [started, spent] = [performance.now(), process.cpuUsage()];
		await Promise.all(Array.from({ length: images }, () => processor.preprocess(bytes)));
		const wall = (performance.now() - started) / 1000 / images;
		const { user, system } = process.cpuUsage(spent);
		return { wall, cpu: (user + system) / 1e6 / images };
	};
	type Sample = Awaited<ReturnType<typeof time>>;
	const measured = (samples: Sample[]): Measured => {
		const walls = samples.map(({ wall }) => wall);
		return { min: Math.min(...walls), median: median(walls), cpu: median(samples.map(({ cpu }) => cpu)) };
	};
	const speeds: Speeds = {};
	for (const name of Object.keys(SPEED_FILES)) {
		const bytes = readFileSync(join(folder, name));
		await time(AT_ONCE, bytes); // warm-up
		const [alone, together]: [Sample[], Sample[]] = [[], []];
		for (let i = 0; i < Number(values.reps); i++) {
			alone.push(await time(1, bytes));
			together.push(await time(AT_ONCE, bytes));
		}
		speeds[name] = { "one at a time": measured(alone), "8 at once": measured(together) };
	}
	return speeds;
}

/** Event-loop delay while nothing happens, then while large images are processed. */
async function delayJob(folder: string) {
	const processor = await openImageProcessor();
	const bytes = readFileSync(join(folder, LARGE_FILE));
	await processor.preprocess(bytes); // warm-up
	const idle = await delays(() => sleep(2000));
	const busy = await delays(() => Promise.all(Array.from({ length: LARGE_IMAGES }, () => processor.preprocess(bytes))));
	return { images: LARGE_IMAGES, idle, busy };
}

/** Milliseconds; resolution 1 ms, which is in every percentile. The loop's own work and its waiting for a core are Linux's figures. */
async function delays(work: () => Promise<unknown>) {
	const histogram = monitorEventLoopDelay({ resolution: 1 });
	const [workedBefore, waitedBefore] = loopThread();
	const started = performance.now();
	histogram.enable();
	await work();
	histogram.disable();
	const [worked, waited] = loopThread();
	const ms = (x: number) => Number(x.toFixed(2));
	return {
		seconds: Number(((performance.now() - started) / 1000).toFixed(2)),
		...{ p50Ms: ms(histogram.percentile(50) / 1e6), p99Ms: ms(histogram.percentile(99) / 1e6), maxMs: ms(histogram.max / 1e6) },
		...{ loopWorkedMs: ms(worked - workedBefore), loopWaitedForCoreMs: ms(waited - waitedBefore) },
	};
}

/** What the main thread has run, and has been ready without running, in milliseconds. */
function loopThread(): [number, number] {
	if (process.platform !== "linux") return [0, 0];
	const [ran, waited] = readFileSync(SCHEDSTAT, "utf8").split(" ");
	return [Number(ran) / 1e6, Number(waited) / 1e6];
}

/** One of our jobs in its own process. Without setup's cache folder there is no addon. */
function runOurs<T>(job: string, folder: string, addon: "addon" | "javascript"): T {
	const env = addon === "addon" ? process.env : { ...process.env, TFJS_RFT_CACHE: join(folder, "nothing") };
	const args = ["--import", "tsx", fileURLToPath(import.meta.url), "--job", job, "--folder", folder, "--maxPixels", values.maxPixels];
	args.push("--reps", addon === "addon" ? values.reps : "2"); // javascript is slow and is no competitor
	const child = spawnSync(process.execPath, args, { encoding: "utf8", env });
	if (child.status !== 0) throw new Error(`${job}: ${child.stderr.slice(-2000)}`);
	return JSON.parse(child.stdout.split("\n").filter(Boolean).at(-1) as string) as T;
}

function runPeer(python: string, folder: string): Record<string, Record<string, Record<string, Measured>>> {
	const files = Object.keys(SPEED_FILES).map((name) => join(folder, name));
	const args = [
		here("peer/peer_images.py"),
		"--max-pixels",
		values.maxPixels,
		"--threads",
		String(os.cpus().length),
		"--reps",
		values.reps,
		...files,
	];
	const child = spawnSync(python, args, { encoding: "utf8", env: { ...process.env, HF_HUB_OFFLINE: "1" } });
	const line = child.stdout?.split("\n").find((text) => text.startsWith("RESULT "));
	if (!line) throw new Error(`peer: ${child.error ?? child.stderr}`);
	return JSON.parse(line.slice("RESULT ".length));
}

/** Least of the minima and middle of the rest over rounds, for every way; `best` is the least of the ways. */
function merge(rounds: Record<string, Measured>[]): Record<string, Measured> & { best: Measured } {
	const ways = Object.fromEntries(
		Object.keys(rounds[0]).map((way) => {
			const of = (key: keyof Measured) => rounds.map((round) => round[way][key]);
			return [way, { min: Math.min(...of("min")), median: median(of("median")), cpu: median(of("cpu")) }];
		}),
	);
	const least = (key: keyof Measured) => Math.min(...Object.values(ways).map((way) => way[key]));
	return { ...ways, best: { min: least("min"), median: least("median"), cpu: least("cpu") } };
}

async function compare(): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "rft-images-"));
	await makeImages(folder);
	const load = os.loadavg()[0];
	const samples: Record<string, Speeds[]> = { addon: [], javascript: [], torchvision: [], pillow: [] };
	for (let round = 0; round < Number(values.rounds); round++) {
		samples.addon.push(runOurs("speed", folder, "addon"));
		const peer = values.peer ? runPeer(values.peer, folder) : undefined;
		for (const name of ["torchvision", "pillow"]) {
			if (peer) samples[name].push(Object.fromEntries(Object.entries(peer).map(([file, byProcessor]) => [file, byProcessor[name]])));
		}
		if (round === 0) samples.javascript.push(runOurs("speed", folder, "javascript"));
	}
	const measuredOnes = Object.entries(samples).filter(([, rounds]) => rounds.length > 0);
	const secondsPerImage = Object.fromEntries(
		Object.keys(SPEED_FILES).map((file) => [
			file,
			Object.fromEntries(measuredOnes.map(([name, rounds]) => [name, merge(rounds.map((round) => round[file]))])),
		]),
	);
	const eventLoop = { addon: runOurs("delay", folder, "addon"), javascript: runOurs("delay", folder, "javascript") };
	rmSync(folder, { recursive: true });
	report(secondsPerImage);
	console.table(Object.fromEntries(Object.entries(eventLoop).map(([name, found]) => [name, (found as { busy: object }).busy])));
	const machine = { cpu: os.cpus()[0].model.trim(), cores: os.cpus().length, loadBefore: load, node: process.version };
	mkdirSync(dirname(values.out), { recursive: true });
	writeFileSync(values.out, `${JSON.stringify({ machine, maxPixels, secondsPerImage, eventLoop }, null, "\t")}\n`);
	console.log(`written to ${values.out}`);
}

/** Against the peer as it is usually called, one image after the other, and in its best way. */
function report(secondsPerImage: Record<string, Record<string, ReturnType<typeof merge>>>): void {
	const head = ["", "way", "images/s, fastest run", "median run", "CPU ms per image", "addon's best ÷ this: fastest", "median", "CPU"];
	const table = new Table({ head, style: { head: [], border: [] } });
	for (const [file, byName] of Object.entries(secondsPerImage)) {
		const ours = byName.addon.best;
		for (const [name, ways] of Object.entries(byName)) {
			for (const [way, { min, median: middle, cpu }] of Object.entries(ways)) {
				const figures = [(1 / min).toFixed(1), (1 / middle).toFixed(1), (cpu * 1000).toFixed(1)];
				const ratios = [min / ours.min, middle / ours.median, cpu / ours.cpu].map((x) => x.toFixed(2));
				table.push([`${basename(file, ".jpg")}, ${name}`, way, ...figures, ...ratios]);
			}
		}
	}
	console.log(table.toString());
}

if (values.job && values.folder) {
	const job = values.job === "speed" ? speedJob(values.folder) : delayJob(values.folder);
	console.log(JSON.stringify(await job));
} else await compare();
