/**
 * How cost grows: a decode step with the length of the cache, a training step with the length of the sequence, loading with the size of the checkpoint.
 *
 *     npx tsx bench/growth.ts [--peer [PYTHON]] [--eager] [--only decode,train,load] [--quick]
 *                             [--out bench/results/growth.json]
 *
 * Writes the numbers, a Markdown table (growth.md) and a plot (growth.svg) beside each other. The model is `small` (64 M parameters) in float32, one row,
 * text only; for loading it has 1 to 192 decoder layers, and a file that the page cache holds. Each point is a process of its own. About 10 minutes on two
 * cores with the peer, 4 without; 5 GB of disk in the temporary folder, removed at the end.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Curve, drawGrowth, type Point } from "./speed/growth-plot.js";
import { duration } from "./speed/quantity.js";
import { loadAverage, readResults } from "./speed/results-file.js";
import { peerVersions, runOurs, runPeer, withPeerPath } from "./speed/run-job.js";
import { DECODE } from "./speed/settings.js";
import { workloadFolder } from "./speed/workload.js";

const LENGTHS = [128, 256, 512, 1024, 2048, 4096];
const LAYERS = [1, 8, 32, 96, 192];
const SMALL_LAYERS = 8;
const DTYPE = "float32";

const { values } = parseArgs({
	args: withPeerPath(process.argv.slice(2)),
	options: {
		peer: { type: "string" },
		eager: { type: "boolean", default: false },
		only: { type: "string", default: "decode,train,load" },
		quick: { type: "boolean", default: false },
		out: { type: "string", default: fileURLToPath(new URL("results/growth.json", import.meta.url)) },
	},
});
const shortened = (sizes: number[]) => (values.quick ? sizes.slice(0, 2) : sizes);
/** As in speed.ts; a training step needs few repetitions, its first two capture. */
const SETTINGS = { ...DECODE, steps: values.quick ? 3 : 5 };

async function measurePoint(name: string, folder: string, settings: Record<string, unknown>, size: number): Promise<Point> {
	const job = { name, folder, dtype: DTYPE, settings };
	const ours = await runOurs({ ...job, eager: false });
	const eager = values.eager ? await runOurs({ ...job, eager: true }) : undefined;
	const peer = values.peer ? await runPeer(values.peer, job) : undefined;
	return {
		size,
		seconds: { ours: ours.measurements.seconds.min, eager: eager?.measurements.seconds.min, peer: peer?.seconds.min },
	};
}

async function writeCheckpoint(layers: number): Promise<string> {
	const folder = `${workloadFolder("small", DTYPE)}-${layers}-layers`;
	await runOurs({ name: "write", folder, dtype: DTYPE, eager: false, settings: { config: "small", layers } });
	return folder;
}

/** One curve over lengths, on the checkpoint of 8 layers. */
async function overLengths(title: string, name: string, warmSteps: number): Promise<Curve> {
	const folder = await writeCheckpoint(SMALL_LAYERS);
	const points: Point[] = [];
	try {
		for (const length of shortened(LENGTHS)) points.push(await measurePoint(name, folder, { ...SETTINGS, warmSteps, length }, length));
	} finally {
		await rm(folder, { recursive: true });
	}
	return { title, unit: "tokens", points };
}

/** Loading of files that were just written, so that the page cache has them. */
async function overSizes(): Promise<Curve> {
	const points: Point[] = [];
	for (const layers of shortened(LAYERS)) {
		const folder = await writeCheckpoint(layers);
		try {
			const { size } = await stat(join(folder, "model.safetensors"));
			points.push(await measurePoint("load", folder, {}, size / 2 ** 30));
		} finally {
			await rm(folder, { recursive: true });
		}
	}
	return { title: "loading, by checkpoint size", unit: "GiB", points };
}

const CURVES: Record<string, () => Promise<Curve>> = {
	decode: () => overLengths("decode step, by cache length", "decode_at", DECODE.warmSteps),
	train: () => overLengths("training step, by sequence length", "train_at", 2),
	load: overSizes,
};

function markdown(curves: readonly Curve[], plot: string): string {
	const time = (x?: number) => (x === undefined ? "" : duration(x));
	const tables = curves.map(({ title, unit, points }) => {
		const rows = points.map(
			({ size, seconds: { ours, eager, peer } }) =>
				`| ${unit === "tokens" ? size : size.toFixed(2)} | ${time(ours)} | ${time(eager)} | ${time(peer)} |`,
		);
		return `### ${title}\n\n| ${unit} | tfjs-rft | eager | peer |\n|---|---|---|---|\n${rows.join("\n")}\n`;
	});
	return `# How cost grows\n\nWritten by \`npx tsx bench/growth.ts\`; least of a few repetitions.\n\n![](${plot})\n\n${tables.join("\n")}`;
}

const before = loadAverage();
const { machine, versions } = readResults(values.out);
const curves: Curve[] = [];
mkdirSync(dirname(values.out), { recursive: true });
for (const name of values.only.split(",")) {
	if (!(name in CURVES)) throw new Error(`--only: ${name} is none of ${Object.keys(CURVES).join(", ")}`);
	curves.push(await CURVES[name]());
	const facts = { machine, versions, peerVersions: values.peer && (await peerVersions(values.peer)) };
	const json = { ...facts, loadAverage: [before, loadAverage()], at: new Date().toISOString(), curves };
	writeFileSync(values.out, `${JSON.stringify(json, null, "\t")}\n`);
	const svg = values.out.replace(/\.json$/, ".svg");
	writeFileSync(svg, drawGrowth(curves));
	writeFileSync(values.out.replace(/\.json$/, ".md"), markdown(curves, basename(svg)));
}
console.log(markdown(curves, "growth.svg"));
