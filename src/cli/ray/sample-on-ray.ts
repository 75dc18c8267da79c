/**
 * `sample --ray`: the pairs in shards, each a job with a journal of its own, and their journals merged into the one from which `sample`
 * then makes its files. Every path must mean the same on all nodes: a shared file system, as clusters have.
 *
 * A shard is the pairs of `--shard i/n`, which goes by their content, and a judgement's random numbers come from its pair: whoever draws
 * it draws the same. What a lost shard had finished is in its journal; what several journals have must agree, and is there once.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { mergeJournals } from "../../index.js";
import { commandWords } from "../command-words.js";
import { commandLine, quote } from "../engines/shell.js";
import { interruptedWith } from "../interrupt.js";
import { describeMerge } from "../merge.js";
import { type SampleOptions, sampleOptions } from "../options.js";
import { journalFile } from "../outputs.js";
import type { Session } from "../session.js";
import { UsageError } from "../usage-error.js";
import { RAY_FLAGS } from "./ray-flags.js";
import { RayJobs } from "./ray-jobs.js";
import { runShard, type ShardJob, type ShardOptions } from "./shard-job.js";

const DEFAULT_SHARDS = 4;

/** What a shard leaves to the end: the files are made once, of all. */
const AT_THE_END: readonly (keyof SampleOptions)[] = [
	...([...RAY_FLAGS, "output_path", "journal", "shard", "overwrite", "export", "export_rows", "export_format"] as const),
	...(["relative_paths", "log_dir", "both_orders_rule", "max_one_order", "max_per_order", "max_per_record"] as const),
	...(["scores_agree", "min_right", "majority", "min_pass_rate"] as const),
	...(["max_pass_rate", "keep_forced", "min_tokens", "max_tokens", "max_repetition", "min_confidence", "min_vote_share"] as const),
	...(["min_votes", "dedup_images", "dedup_prompts", "max_per_prompt", "decontaminate", "decontaminate_image_root"] as const),
];

/**
 * Draws what the shards' journals have not, and merges them with the command's own.
 * @param every milliseconds between two looks at a job. Default 1000
 * @returns the journal
 * @throws UsageError for flags that shards can't be given; Error where a shard is lost too often; Interrupted, when all jobs have been stopped
 */
export async function sampleOnRay(options: SampleOptions & { ray: string }, session: Session, every?: number): Promise<string> {
	checkRayFlags(options);
	const { signal, note } = session;
	const journal = resolve(options.journal ?? journalFile(options.output_path));
	const shards = shardsOf(options, `${journal}.shards`);
	const jobs = new RayJobs(options.ray);
	note(`Ray ${await jobs.version()} at ${options.ray}: ${shards.length} shards, journals in ${journal}.shards`);
	await mkdir(`${journal}.shards`, { recursive: true });
	const stage = session.stage("shards");
	const done = new Map<string, [done: number, total: number]>();
	// The first failure stops the other shards; what they have is in their journals.
	const failed = new AbortController();
	const stop = AbortSignal.any([signal, failed.signal]);
	const follow = ({ job }: Shard) => {
		const own: ShardOptions = {
			...{ cpus: options.ray_cpus, gpus: options.ray_gpus, retries: options.ray_retries, signal: stop, every, note },
			onProgress(...progress) {
				done.set(job.name, progress);
				const sum = (i: 0 | 1) => [...done.values()].reduce((all, counts) => all + counts[i], 0);
				stage.update(sum(0), sum(1), `${done.size} of ${shards.length} shards`);
			},
		};
		return runShard(jobs, job, own).catch((error) => {
			failed.abort(error);
			throw error;
		});
	};
	const ends = await Promise.allSettled(shards.map(follow)).finally(() => stage.end());
	if (signal.aborted)
		throw interruptedWith(signal, `sample: stopped, and its Ray jobs; the same command goes on from the journals in ${journal}.shards`);
	if (failed.signal.aborted) throw failed.signal.reason;
	for (const end of ends) if (end.status === "rejected") throw end.reason;
	await mergeInto(
		journal,
		shards.map((shard) => shard.journal),
		session,
	);
	return journal;
}

interface Shard {
	job: ShardJob;
	journal: string;
}

function shardsOf(options: SampleOptions, folder: string): Shard[] {
	const count = options.shards ?? DEFAULT_SHARDS;
	const passed = commandWords(sampleOptions, { ...options, ...Object.fromEntries(AT_THE_END.map((name) => [name, undefined])) });
	const program = options.ray_command ?? commandLine([process.execPath, ...process.execArgv, resolve(process.argv[1])]);
	// Jobs of other options, or another folder, are others.
	const run = createHash("sha256")
		.update(JSON.stringify([folder, passed, count]))
		.digest("hex")
		.slice(0, 10);
	return Array.from({ length: count }, (_, i) => {
		const place = `${i + 1}-of-${count}`;
		const journal = join(folder, `${place}.jsonl`);
		const own = ["--shard", `${i + 1}/${count}`, "--journal", journal, "--output_path", join(folder, place), "--overwrite"];
		const entrypoint = `cd ${quote(process.cwd())} && exec ${program} ${commandLine(["sample", ...passed, ...own])}`;
		const metadata = { from: "tfjs-rft sample", shard: `${i + 1}/${count}`, output: folder };
		return { journal, job: { name: `tfjs-rft-${run}-${place}`, entrypoint, metadata } };
	});
}

/** One journal that is there or not, as it was or with the shards' judgements. */
async function mergeInto(journal: string, shards: string[], { note, signal }: Session): Promise<void> {
	signal.throwIfAborted();
	const missing = shards.find((file) => !existsSync(file));
	if (missing !== undefined)
		throw new Error(`${missing}: not there, though its job has succeeded; expected the nodes to see the same files as this machine`);
	const merged = `${journal}.merged`;
	await mkdir(dirname(journal), { recursive: true });
	await rm(merged, { force: true });
	const report = await mergeJournals(merged, existsSync(journal) ? [journal, ...shards] : shards);
	await rename(merged, journal);
	note(describeMerge(journal, report));
}

function checkRayFlags({ ray_command, force_new, limit, shard, data_mapping }: SampleOptions): void {
	const other = "leave it out with --ray";
	if (force_new) throw new UsageError(`--force_new: ${other}; another --output_path begins anew`);
	if (shard !== undefined) throw new UsageError(`--shard: ${other}; its --shards are the parts`);
	if (limit !== undefined) throw new UsageError(`--limit: ${other}; each shard would take so many`);
	if (data_mapping !== undefined && typeof data_mapping !== "string") throw new UsageError("--data_mapping: expected a file with --ray");
	if (ray_command === undefined && process.argv[1] === undefined) throw new UsageError("--ray_command: expected how a node calls tfjs-rft");
}
