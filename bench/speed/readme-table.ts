/**
 * The README's speed section, written from bench/results/*.json: no number in it is typed by a person.
 *
 * A cell is ours · the peer's · the ratio, which is bold where the goal is reached. Goals are the compiled-execution issue's: a ratio of speeds (at
 * least) or of times or memory (at most). Minima are compared.
 */
import { foldedLines } from "./folded-results.js";
import { limitLines } from "./limit-lines.js";
import { duration, gibibytes } from "./quantity.js";
import type { Entry, Results } from "./results-file.js";
import type { Measurements } from "./samples.js";
import { MAX_NEW_TOKENS, PROMPTS, ROLLOUTS_PER_RECORD, repetitions, SAMPLES } from "./settings.js";

const START = "<!-- bench:speed, written by npm run bench -- --readme -->";
const END = "<!-- /bench:speed -->";
const COLUMNS = ["small/float32", "small/bfloat16", "medium/float32", "medium/bfloat16"] as const;
type Column = (typeof COLUMNS)[number];

/** What must be reached, per column; `speed` is peer time over ours, `cost` is ours over the peer's. */
interface Goal {
	kind: "speed" | "cost";
	of: Partial<Record<Column, number>>;
}
interface Row {
	label: string;
	/** The job's kind, and its dtype where it is not the column's. */
	kind: string;
	dtype?: string;
	measure: string;
	goal: Goal;
	/** Rows generated per step, to give tokens/s too. */
	batch?: number;
}

const goal = (kind: Goal["kind"], float32: number | undefined, bfloat16: number | undefined, medium = [float32, bfloat16]): Goal => ({
	kind,
	of: { "small/float32": float32, "small/bfloat16": bfloat16, "medium/float32": medium[0], "medium/bfloat16": medium[1] },
});
const everywhere = (kind: Goal["kind"], ratio: number) => goal(kind, ratio, ratio);
const batches = [PROMPTS, PROMPTS * SAMPLES];
const training = (kind: string, label: string): Row[] => [
	{ label, kind, measure: "step_s", goal: goal("speed", 1.2, 1.2, [1, 1]) },
	{ label: `${label}, the peer under autocast`, kind, dtype: "autocast", measure: "step_s", goal: goal("speed", undefined, 1.2) },
];
const memory = (kind: string, label: string, ratio?: number): Row[] => [
	{ label, kind, measure: "peak_GiB", goal: goal("cost", ratio, ratio) },
	{ label: `${label}, the peer under autocast`, kind, dtype: "autocast", measure: "peak_GiB", goal: goal("cost", undefined, ratio) },
];

const ROWS: Row[] = [
	{ label: "decode step, 1 row", kind: "generate", measure: "decode_b1_s", goal: goal("cost", 0.85, undefined, [0.85, 1.05]), batch: 1 },
	{
		label: "the same, int8 weights",
		kind: "generate",
		dtype: "int8",
		measure: "decode_b1_s",
		goal: goal("cost", undefined, undefined, [undefined, 0.7]),
		batch: 1,
	},
	...batches.map((batch) => ({
		label: `decode step, ${batch} rows`,
		kind: "generate",
		measure: `decode_b${batch}_s`,
		goal: goal("speed", 1.3, 1.2),
		batch,
	})),
	...[1, PROMPTS].map((batch) => ({
		label: `prefill, ${batch} two-image prompt${batch > 1 ? "s" : ""}`,
		kind: "generate",
		measure: `prefill_b${batch}_s`,
		goal: everywhere("speed", 1),
	})),
	{ label: "peak memory of these", kind: "generate", measure: "peak_GiB", goal: goal("cost", undefined, undefined) },
	{
		label: `pipeline: ${ROLLOUTS_PER_RECORD} rollouts of each of ${repetitions("pipeline", "small").records} records (medium: ${repetitions("pipeline", "medium").records}), at most ${MAX_NEW_TOKENS} tokens`,
		kind: "pipeline",
		measure: "total_s",
		goal: everywhere("speed", 2),
	},
	...training("train", "training step"),
	...training("train_gc", "training step with gradient checkpointing"),
	...memory("train", "peak memory, training"),
	...memory("train_gc", "peak memory, with gradient checkpointing", 1),
	{ label: "process start to first token", kind: "first_token", measure: "total_s", goal: goal("cost", undefined, undefined, [0.5, 0.5]) },
];

/** The whole section as Markdown. @param folder bench/results, whose other files are folded in */
export function speedTable(results: Results, folder: string): string {
	const head = `| tfjs-rft · peer · ratio | goal | ${COLUMNS.map((column) => column.replace("/", ", ")).join(" | ")} |\n|---|---|---|---|---|---|`;
	const rows = ROWS.map((row) => tableRow(row, results.jobs)).filter((row) => row !== undefined);
	const extras = [...limitLines(results), ...eagerLine(results.jobs), ...foldedLines(folder)];
	return [described(results), "", head, ...rows, "", ...extras.map((line) => `- ${line}`)].join("\n");
}

/** Puts the table between the markers of a README. @throws if they are not there */
export function replaceTable(readme: string, table: string, file: string): string {
	const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
	if (start < 0 || end < start) throw new Error(`${file}: expected the lines ${START} and ${END}, between which the table goes; add them`);
	return `${readme.slice(0, start + START.length)}\n${table}\n${readme.slice(end)}`;
}

function described({ machine, versions, peerVersions, jobs }: Results): string {
	const peer = peerVersions ? `transformers ${peerVersions.transformers} + PyTorch ${peerVersions.torch}` : "the peer, not measured";
	const loads = Object.values(jobs).map((entry) => entry.loadAverage[0]);
	const load = loads.length > 0 ? `; load average before a job ${Math.min(...loads)} to ${Math.max(...loads)}` : "";
	return (
		`tfjs-rft ${versions["tfjs-rft"]} on Node ${versions.node}, beside ${peer}: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB${load}. ` +
		"Same checkpoint, prompts and threads, alternating runs; minima (medians, too, in `bench/results/speed.json`). **Bold**: the goal is reached. " +
		"A goal with ≥ is a ratio of speeds, one with ≤ of ours to the peer's time or memory. " +
		"By `npm run bench -- --peer`; what exactly is timed is in [bench/speed.ts](bench/speed.ts)."
	);
}

function tableRow(row: Row, jobs: Results["jobs"]): string | undefined {
	const cells = COLUMNS.map((column) => tableCell(row, column, jobs));
	if (cells.every((cell) => cell === "")) return undefined;
	return `| ${row.label} | ${goalText(row.goal)} | ${cells.join(" | ")} |`;
}

function tableCell(row: Row, column: Column, jobs: Results["jobs"]): string {
	if (row.dtype && !column.endsWith("/bfloat16")) return "";
	const [config, dtype] = column.split("/");
	const entry = jobs[`${row.kind}/${config}/${row.dtype ?? dtype}`];
	const ours = entry?.ours[row.measure]?.min;
	if (entry === undefined || ours === undefined) return "";
	const peer = entry.peer?.[row.measure]?.min;
	const value = row.measure.endsWith("_GiB") ? gibibytes : duration;
	const rate = row.batch && row.batch > 1 ? ` (${Math.round(row.batch / ours)} tokens/s)` : "";
	return peer === undefined
		? `${value(ours)}${rate}`
		: `${value(ours)}${rate} · ${value(peer)} · ${ratioText(row.goal, column, ours, peer)}`;
}

function ratioText({ kind, of }: Goal, column: Column, ours: number, peer: number): string {
	const ratio = kind === "speed" ? peer / ours : ours / peer;
	const wanted = of[column];
	const reached = wanted !== undefined && (kind === "speed" ? ratio >= wanted : ratio <= wanted);
	return reached ? `**${ratio.toFixed(2)} ×**` : `${ratio.toFixed(2)} ×`;
}

function goalText({ kind, of }: Goal): string {
	const sign = kind === "speed" ? "≥" : "≤";
	const values = [...new Set(COLUMNS.map((column) => of[column]).filter((value) => value !== undefined))];
	return values.length === 0 ? "" : `${sign} ${values.join(" / ")}`;
}

/** How much compiling gains, where `--eager` measured it. */
function eagerLine(jobs: Results["jobs"]): string[] {
	const gains = Object.entries(jobs).flatMap(([name, { ours, eager }]: [string, Entry]) => (eager ? [gain(name, ours, eager)] : []));
	return gains.length === 0 ? [] : [`Compiled, as a ratio to the speed of \`eager: true\`: ${gains.join("; ")}.`];
}

function gain(name: string, ours: Measurements, eager: Measurements): string {
	const timed = Object.keys(ours).filter((measure) => measure.endsWith("_s") && measure !== "cold_s" && eager[measure]);
	return `${name} ${timed.map((measure) => `${measure.replace(/_s$/, "")} ${(eager[measure].min / ours[measure].min).toFixed(2)}`).join(", ")}`;
}
