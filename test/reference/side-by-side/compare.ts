/**
 * What train.ts and train.py left in FOLDER, compared: curves.json, comparison.txt and curves.svg here.
 *
 *     npx tsx test/reference/side-by-side/compare.ts FOLDER
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { init, type LineSeriesOption } from "echarts";
import { bytesToFloat32 } from "../../../src/checkpoint/dtype.js";
import { openSafetensors } from "../../../src/checkpoint/safetensors.js";

const [folder] = process.argv.slice(2);
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

interface Run {
	seconds: number;
	curve: { loss: number; gradNorm: number }[];
}
const readJson = (file: string) => JSON.parse(readFileSync(join(folder, file), "utf8"));
const run = (name: string) => readJson(`${name}.json`) as Run;
const losses = (name: string) => run(name).curve.map(({ loss }) => loss);

/** The mean over the last steps, so that seeds, whose batches differ, can be compared at all. */
const WINDOW = 20;
const smooth = (curve: number[]) =>
	curve.map((_, i) => {
		const last = curve.slice(Math.max(0, i - WINDOW + 1), i + 1);
		return last.reduce((sum, x) => sum + x, 0) / last.length;
	});

async function weights(file: string): Promise<Map<string, Float32Array>> {
	const opened = await openSafetensors(file);
	const found = new Map<string, Float32Array>();
	for (const [name, { dtype }] of opened.header) found.set(name, bytesToFloat32(await opened.read(name), dtype));
	await opened.close();
	return found;
}

/** Over all parameters, in doubles; of the weights, or of what training changed in them. */
function cosine(a: Map<string, Float32Array>, b: Map<string, Float32Array>, from?: Map<string, Float32Array>): number {
	let [ab, aa, bb] = [0, 0, 0];
	for (const [name, x] of a) {
		const y = b.get(name)!;
		const start = from?.get(name);
		for (let i = 0; i < x.length; i++) {
			const [p, q] = start ? [x[i] - start[i], y[i] - start[i]] : [x[i], y[i]];
			ab += p * q;
			aa += p * p;
			bb += q * q;
		}
	}
	return ab / Math.sqrt(aa * bb);
}

const before = await weights("examples/judge/model.safetensors");
const ours = (dtype: string) => weights(join(folder, `ours-${dtype}`, "model.safetensors"));
const torch = (name: string) => weights(join(folder, `torch-${name}.safetensors`));

function relative(a: number[], b: number[]): { largest: number; at: number; first: number; median: number; within: number } {
	const differences = a.map((x, i) => Math.abs(x / b[i] - 1));
	const largest = Math.max(...differences);
	const beyond = differences.findIndex((d) => d > 1e-3);
	const median = [...differences].sort((x, y) => x - y)[differences.length >> 1];
	return { largest, at: differences.indexOf(largest) + 1, first: differences[0], median, within: beyond < 0 ? differences.length : beyond };
}

const lines: string[] = [];
const say = (line: string) => lines.push(line);
const inputs = readJson("inputs.json");
say(
	`inputs: ${inputs.same_ids} of ${inputs.rows} rows have the same token ids, ${inputs.same_labels} the same labels; largest difference of ${inputs.pixel_values} pixel values: ${inputs.largest_pixel_difference}`,
);
async function float32Against(name: string, b: string): Promise<void> {
	const of = async (which: string) => (which.startsWith("ours") ? ours(which.slice(5)) : torch(which.slice(6)));
	const [x, y] = await Promise.all([of(name), of(b)]);
	const { largest, at, first, median, within } = relative(losses(name), losses(b));
	const norms = relative(
		run(name).curve.map(({ gradNorm }) => gradNorm),
		run(b).curve.map(({ gradNorm }) => gradNorm),
	);
	say(`${name} and ${b}, ${losses(name).length} steps:`);
	say(
		`  loss, relative difference: first step ${first.toExponential(1)}, median ${median.toExponential(1)}, largest ${largest.toExponential(1)} at step ${at}; within 1e-3 to step ${within}`,
	);
	say(
		`  gradient norm: first step ${norms.first.toExponential(1)}, median ${norms.median.toExponential(1)}, largest ${norms.largest.toExponential(1)}`,
	);
	say(`  cosine of the final weights ${cosine(x, y).toFixed(8)}, of what training changed ${cosine(x, y, before).toFixed(8)}`);
}
await float32Against("ours-float32", "torch-float32");
await float32Against("torch-float32-split", "torch-float32");
await float32Against("ours-bfloat16", "torch-bfloat16");
await float32Against("torch-bfloat16", "torch-float32");

const seeds = ["torch-bfloat16", "torch-bfloat16-seed1", "torch-bfloat16-seed2"];
const smoothed = seeds.map((name) => smooth(losses(name)));
const difference = smooth(losses("ours-bfloat16")).map((x, i) => Math.abs(x - smoothed[0][i]));
const spread = smoothed[0].map((_, i) => Math.max(...smoothed.map((curve) => curve[i])) - Math.min(...smoothed.map((curve) => curve[i])));
const inside = difference.filter((d, i) => d <= spread[i]).length;
const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
say(
	`bfloat16, means over ${WINDOW} steps: ours differs from torch's by ${mean(difference).toExponential(1)} on average (largest ${Math.max(...difference).toExponential(1)}); torch's three orders of the data differ by ${mean(spread).toExponential(1)} (least ${Math.min(...spread).toExponential(1)}); inside that spread at ${inside} of ${difference.length} steps`,
);
for (const name of ["ours-float32", "ours-bfloat16", "torch-float32", "torch-bfloat16"])
	say(`${name}: ${run(name).seconds.toFixed(0)} s (the machine was shared)`);

const NAMES = ["ours-float32", "torch-float32", "torch-float32-split", "ours-bfloat16", ...seeds];
writeFileSync(
	here("curves.json"),
	`${JSON.stringify(Object.fromEntries(NAMES.map((name) => [name, losses(name).map((x) => Number(x.toPrecision(7)))])))}\n`,
);
writeFileSync(here("comparison.txt"), `${lines.join("\n")}\n`);
console.log(lines.join("\n"));

const line = (name: string, data: number[], panel: number, style: LineSeriesOption["lineStyle"]): LineSeriesOption => ({
	...{ type: "line", name, xAxisIndex: panel, yAxisIndex: panel, showSymbol: false, lineStyle: { width: 1.5, ...style } },
	data: data.map((y, i) => [i + 1, y]),
});
const quotient = (a: string, b: string) => losses(a).map((x, i) => Math.max(1e-8, Math.abs(x / losses(b)[i] - 1)));
const chart = init(null, null, { renderer: "svg", ssr: true, width: 1180, height: 400 });
const TITLES = ["loss, float32", "relative difference of the losses, float32", `loss, bfloat16, means over ${WINDOW} steps`];
const left = (panel: number) => 60 + panel * 385;
chart.setOption({
	animation: false,
	backgroundColor: "#fff",
	legend: { bottom: 4 },
	title: TITLES.map((text, i) => ({ text, left: left(i), top: 8, textStyle: { fontSize: 13 } })),
	grid: TITLES.map((_, i) => ({ left: left(i), top: 40, width: 310, height: 260 })),
	xAxis: TITLES.map((_, gridIndex) => ({ type: "value", gridIndex, name: "step", nameLocation: "middle", nameGap: 24 })),
	yAxis: TITLES.map((_, gridIndex) => (gridIndex === 1 ? { type: "log", gridIndex } : { type: "value", gridIndex })),
	series: [
		line("transformers + torch", losses("torch-float32"), 0, { width: 4, color: "#f5b041" }),
		line("tfjs-rft", losses("ours-float32"), 0, { color: "#1f618d" }),
		line("tfjs-rft against torch", quotient("ours-float32", "torch-float32"), 1, { color: "#1f618d" }),
		line("torch in two halves against torch", quotient("torch-float32-split", "torch-float32"), 1, { color: "#f5b041" }),
		...smoothed.map((curve, i) =>
			line(i === 0 ? "torch, the same order" : "torch, other orders", curve, 2, { color: i === 0 ? "#d35400" : "#f8c471" }),
		),
		line("tfjs-rft", smooth(losses("ours-bfloat16")), 2, { color: "#1f618d" }),
	],
});
writeFileSync(here("curves.svg"), chart.renderToSVGString());
chart.dispose();
