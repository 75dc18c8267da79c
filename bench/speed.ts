/**
 * Speed and memory of the model beside transformers + PyTorch in the same session: the same checkpoint, prompts, threads and dtype, runs
 * alternating, each job in a process of its own, so that its peak memory is its own.
 *
 *     npm run bench                                       this library alone
 *     npm run bench -- --peer                             and the Python peer, of bench/.venv or of the python named
 *     (the peer: python3 -m venv bench/.venv && bench/.venv/bin/pip install -r bench/peer/requirements.txt)
 *
 *     --configs small,medium                    64 M and 0.54 B parameters
 *     --dtypes float32,bfloat16,autocast        see speed/settings.ts; autocast is for training small only; int8 for sampling
 *     --jobs limits,generate,pipeline,train,train_gc,first_token        `none` measures nothing and prints what there is
 *     --rounds N                                processes per side and job; default 2, fewer for medium, 3 for first_token
 *     --eager                                   measure this library without compiling too
 *     --out bench/results/speed.json            rewritten after each job; a later run replaces only the jobs that it measures
 *     --readme                                  put the table between README.md's markers
 *     --quick                                   one repetition of everything: to see that it runs, not to quote
 *
 * Time on two cores: small about 25 minutes (the peer's part 16), medium 50 (the peer's 30; half of it training, where a step takes the peer a minute).
 * So run `--configs medium --jobs train,train_gc` apart if you are in a hurry. Disk: 3.8 GB for the checkpoints in the temporary folder, removed at the end.
 *
 * generate: prompts of two images, 300 tokens; decode steps of 1, 8 and 8 × 4 rows. Ours are timed through `generate`, sampling and read-back included; the
 * peer's on bare forward passes. pipeline: 8 rollouts of each of 16 records (4 with medium) at temperature 1, images read from their files. Ours end by the end tokens of the
 * checkpoint (one in 64 of the vocabulary) or at 64 tokens; a stopping criterion ends the peer's rows at the very same lengths, so both generate the same number
 * of tokens per row. The peer's calls hold one record or four, whichever is faster. train: 4 rows of 500 tokens, 150 of them labelled (ours computes logits for these
 * only, the peer for all); train_gc: with gradient checkpointing. first_token: from process start, imports and loading included; ours is the built package. The first
 * steps or passes, in which graphs are captured, are not counted; the pipeline's first pass is in the results as `cold_s`.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { OurJob, OurResult } from "./speed/our-jobs.js";
import { replaceTable, speedTable } from "./speed/readme-table.js";
import { currentCommit, type Entry, loadAverage, readResults, writeResults } from "./speed/results-file.js";
import { peerVersions, runOurFirstToken, runOurs, runPeer, withPeerPath } from "./speed/run-job.js";
import { type Measurements, mergeRounds } from "./speed/samples.js";
import {
	CONFIGS,
	type Config,
	DECODE,
	DTYPES,
	type Dtype,
	JOBS,
	type Kind,
	MAX_NEW_TOKENS,
	PEER_RECORDS_PER_CALL,
	repetitions,
	SAMPLES,
} from "./speed/settings.js";
import { workloadFolder } from "./speed/workload.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
	args: withPeerPath(process.argv.slice(2)),
	options: {
		peer: { type: "string" },
		configs: { type: "string", default: CONFIGS.join() },
		dtypes: { type: "string", default: "float32,bfloat16,autocast" },
		jobs: { type: "string", default: JOBS.join() },
		rounds: { type: "string" },
		eager: { type: "boolean", default: false },
		out: { type: "string", default: here("results/speed.json") },
		readme: { type: "boolean", default: false },
		quick: { type: "boolean", default: false },
	},
});
const chosen = <T extends string>(flag: "configs" | "dtypes" | "jobs", known: readonly T[]): T[] => {
	const names = values[flag].split(",").filter((name) => name !== "none");
	const stray = names.find((name) => !known.includes(name as T));
	if (stray !== undefined) throw new Error(`--${flag}: ${stray} is none of ${known.join(", ")}`);
	return names as T[];
};
const [configs, dtypes, kinds] = [chosen("configs", CONFIGS), chosen("dtypes", DTYPES), chosen("jobs", JOBS)];

/** One line of work: a kind of job with a configuration and a dtype. */
interface Line {
	kind: Kind;
	config: Config;
	dtype: Dtype;
}

function isMeasured({ kind, config, dtype }: Line): boolean {
	if (dtype === "autocast") return kind.startsWith("train") && config === "small";
	if (dtype === "int8") return kind === "generate" || kind === "pipeline";
	return kind !== "limits";
}

/** What either side is told, beside the checkpoint. */
function settingsOf({ kind, config }: Line) {
	const settings = { ...DECODE, ...repetitions(kind, config), samples: SAMPLES, maxNewTokens: MAX_NEW_TOKENS };
	const quick = values.quick ? { reps: 1, steps: 2, warmSteps: kind === "generate" ? DECODE.warmSteps : 1, records: 2 } : {};
	const warmSteps = kind === "generate" ? DECODE.warmSteps : settings.warmSteps;
	return { ...settings, warmSteps, ...quick, gradientCheckpointing: kind === "train_gc" };
}

/** The names that the sides know the job by, and the checkpoint that they load. */
function jobOf(line: Line, eager: boolean): OurJob {
	const name = line.kind === "train_gc" ? "train" : line.kind;
	return { name, folder: folderOf(line), dtype: line.dtype, eager, settings: settingsOf(line) };
}

const folderOf = ({ config, dtype }: Line) => workloadFolder(config, dtype === "bfloat16" || dtype === "int8" ? "bfloat16" : "float32");

function runOurSide(job: OurJob): Promise<OurResult> {
	return job.name === "first_token" ? runOurFirstToken(job) : runOurs(job);
}

/** The peer at its best: an entry's measurements, and for the pipeline how many records its faster calls hold. */
async function runPeerSide(python: string, { eager: _, ...job }: OurJob, ours: OurResult): Promise<[Measurements, number?]> {
	const dtype = job.dtype === "int8" ? "bfloat16" : job.dtype;
	if (job.name !== "pipeline") return [await runPeer(python, { ...job, dtype })];
	const runs: [Measurements, number][] = [];
	for (const recordsPerCall of PEER_RECORDS_PER_CALL) {
		const settings = { ...job.settings, lengths: ours.lengths, recordsPerCall };
		runs.push([await runPeer(python, { ...job, dtype, settings }), recordsPerCall]);
	}
	return runs.reduce((best, run) => (run[0].total_s.min < best[0].total_s.min ? run : best));
}

/** Both sides in turn, round by round. */
async function measureLine(line: Line): Promise<Entry> {
	const before = loadAverage();
	const rounds = values.quick ? 1 : Number(values.rounds ?? repetitions(line.kind, line.config).rounds);
	const sides: Record<"ours" | "eager" | "peer", Measurements[]> = { ours: [], eager: [], peer: [] };
	let peerRecordsPerCall: number | undefined;
	for (let round = 0; round < rounds; round++) {
		const ours = await runOurSide(jobOf(line, false));
		sides.ours.push(ours.measurements);
		if (values.eager) sides.eager.push((await runOurSide(jobOf(line, true))).measurements);
		if (!values.peer) continue;
		const [measurements, perCall] = await runPeerSide(values.peer, jobOf(line, false), ours);
		sides.peer.push(measurements);
		peerRecordsPerCall = perCall;
	}
	return {
		ours: mergeRounds(sides.ours),
		...(sides.eager.length > 0 && { eager: mergeRounds(sides.eager) }),
		...(sides.peer.length > 0 && { peer: mergeRounds(sides.peer) }),
		peerRecordsPerCall,
		rounds,
		...provenance(before),
	};
}

function provenance(before: number): Pick<Entry, "at" | "commit" | "loadAverage"> {
	return { at: new Date().toISOString(), commit: currentCommit(), loadAverage: [before, loadAverage()] };
}

async function measureLimits(): Promise<Entry> {
	const before = loadAverage();
	const { measurements } = await runOurs({ name: "limits", folder: "", dtype: "float32", eager: false, settings: {} });
	return { ours: measurements, rounds: 1, ...provenance(before) };
}

/** Runs everything that was asked for; a job that fails is told and left out. @returns whether all went well */
async function measureAll(): Promise<boolean> {
	const results = readResults(values.out);
	if (values.peer) results.peerVersions = await peerVersions(values.peer);
	if (kinds.includes("first_token")) execFileSync("npx", ["tsup"], { cwd: here(".."), stdio: "ignore" });
	const lines = configs.flatMap((config) => dtypes.flatMap((dtype) => kinds.map((kind) => ({ kind, config, dtype })))).filter(isMeasured);
	let failed = 0;
	const measure = async (name: string, work: () => Promise<Entry>) => {
		const started = performance.now();
		try {
			results.jobs[name] = await work();
			writeResults(values.out, results);
			console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
		} catch (error) {
			failed++;
			console.error(`${name} failed: ${(error as Error).message}`);
		}
	};
	if (kinds.includes("limits")) await measure("limits", measureLimits);
	const folders = new Set<string>();
	try {
		for (const line of lines) {
			const folder = folderOf(line);
			if (!folders.has(folder)) await writeCheckpoint(folder, line);
			folders.add(folder);
			await measure(`${line.kind}/${line.config}/${line.dtype}`, () => measureLine(line));
		}
	} finally {
		for (const folder of folders) await rm(folder, { recursive: true });
	}
	return failed === 0;
}

async function writeCheckpoint(folder: string, { config }: Line): Promise<void> {
	const dtype = folder.endsWith("bfloat16") ? "bfloat16" : "float32";
	await runOurs({ name: "write", folder, dtype, eager: false, settings: { config } });
}

const well = await measureAll();
const table = speedTable(readResults(values.out), here("results"));
console.log(table);
if (values.readme) {
	const readme = here("../README.md");
	writeFileSync(readme, replaceTable(readFileSync(readme, "utf8"), table, readme));
}
process.exitCode = well ? 0 : 1;
