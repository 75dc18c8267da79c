/**
 * The demo: a judge that learns from its own right judgements.
 *
 *     npm run demo                    (or: npx tsx examples/demo.ts [--seed 0] [--limit PAIRS] [--output_path demo-output])
 *
 * Data: examples/data (made by examples/data-generator). Judge: examples/judge (cold-started by examples/cold-start.ts).
 */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SingleBar } from "cli-progress";
import Table from "cli-table3";
import type { Evaluation } from "../src/index.js";
import { type Improvement, improveJudge } from "./demo/improve-judge.js";

const { values } = parseArgs({
	options: {
		seed: { type: "string", default: "0" },
		limit: { type: "string" },
		output_path: { type: "string", default: "demo-output" },
		judge: { type: "string" },
	},
});
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const percent = (x: number) => `${(100 * x).toFixed(1)} %`;

let bar: SingleBar | undefined;
let current = "";
function showProgress(stage: string, done: number, total: number | undefined, note: string): void {
	if (stage !== current) {
		bar?.stop();
		current = stage;
		const format = `${stage.padEnd(13)} {bar} {value}/{total}  {duration_formatted}, {eta_formatted} left  {note}`;
		bar = new SingleBar({
			format,
			hideCursor: true,
			noTTYOutput: !process.stderr.isTTY,
			notTTYSchedule: 10_000,
			stream: process.stderr,
			barsize: 24,
		});
		bar.start(total ?? 0, 0, { note });
	}
	bar?.update(done, { note });
}

const started = Date.now();
const result = await improveJudge({
	judge: values.judge ?? here("judge"),
	trainData: `hpdv3:${here("data/train.json")}`,
	heldOutData: `hpdv3:${here("data/heldout.json")}`,
	imageRoot: here("data"),
	outputPath: values.output_path,
	seed: Number(values.seed),
	limit: values.limit === undefined ? undefined : Number(values.limit),
	onProgress: showProgress,
});
bar?.stop();
console.log(report(result, (Date.now() - started) / 1000));

function report({ before, after, stats, selection, conversations, steps, files, backendReason }: Improvement, seconds: number): string {
	const table = new Table({ head: ["", "before", "after"], style: { head: [], border: [] }, colAligns: ["left", "right", "right"] });
	const accuracy = ({ accuracy, ci }: Evaluation) => `${percent(accuracy)}  [${percent(ci[0])}, ${percent(ci[1])}]`;
	table.push(
		["held-out accuracy, 95 % interval", accuracy(before), accuracy(after)],
		["parse rate", percent(before.parseRate), percent(after.parseRate)],
		["says “Image 1”", percent(before.saysImage1), percent(after.saysImage1)],
		["held-out judgements", before.n, after.n],
	);
	const yielded = `${stats.total} judgements sampled, ${stats.correct} right (${percent(stats.correct / stats.total)}), ${selection.kept} kept; ${conversations} conversations, ${steps} steps`;
	const paths = Object.entries(files).map(([name, path]) => `  ${name.padEnd(14)} ${relative(process.cwd(), path) || join(".", path)}`);
	return [table.toString(), yielded, backendReason, `${seconds.toFixed(0)} s in all; files:`, ...paths].join("\n");
}
