/** Where commands write, and what must not be there yet: nothing of an earlier run is replaced unless `--overwrite` says so. */
import { existsSync } from "node:fs";
import { access, constants, mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { isInside } from "../files/is-inside.js";
import { UsageError } from "./usage-error.js";

/** The sampling stage's folder in a log folder. */
export const SAMPLING_LOGS = "sample";

export interface SampleFiles {
	filtered: string;
	stats: string;
	/** The same numbers and more, for programs. */
	report: string;
	rejected: string;
}

/** @param outputPath a folder, or the path of the filtered samples' own file; the others stand beside it. */
export function sampleFiles(outputPath: string): SampleFiles {
	const isFile = outputPath.endsWith(".json");
	const folder = isFile ? dirname(outputPath) : outputPath;
	const stem = isFile ? basename(outputPath, ".json") : "filtered_samples";
	return {
		filtered: join(folder, `${stem}.json`),
		stats: join(folder, `${stem}_stats.txt`),
		report: join(folder, `${stem}_stats.json`),
		rejected: join(folder, "rejected_samples.jsonl"),
	};
}

/** Where all rollouts are kept while and after they are drawn, unless `--journal` names another place. */
export function journalFile(outputPath: string): string {
	return join(dirname(sampleFiles(outputPath).filtered), "journal.jsonl");
}

/** The rows that could not be read; written anew by every command that reads them, and there only where there are some. */
export function quarantineFile(outputPath: string): string {
	return join(dirname(sampleFiles(outputPath).filtered), "quarantined_rows.jsonl");
}

/** The folder of `--export`, beside the filtered samples. */
export function exportFolder({ filtered }: Pick<SampleFiles, "filtered">): string {
	return join(dirname(filtered), "exports");
}

/** The HTML report, beside the filtered samples. */
export function pageFile({ filtered }: Pick<SampleFiles, "filtered">): string {
	return join(dirname(filtered), "report.html");
}

export function runFiles(folder: string) {
	return {
		...sampleFiles(join(folder, "filtered_samples.json")),
		page: pageFile(sampleFiles(join(folder, "filtered_samples.json"))),
		conversations: join(folder, "rejection_sampling_train.json"),
		checkpoint: join(folder, "checkpoint"),
		logs: join(folder, "logs"),
	};
}

/**
 * Makes the outputs' folders.
 * @param outputs files, and folders that may stand there empty
 * @param inputs what the command reads
 * @throws UsageError where an output is there already, is or holds an input, or stands in a folder that can't be written
 */
export async function claimOutputs(outputs: readonly string[], inputs: readonly string[], overwrite: boolean): Promise<void> {
	for (const output of outputs) {
		const input = inputs.find((path) => isInside(resolve(path), resolve(output)));
		if (input !== undefined) throw new UsageError(`${output} would be written over ${input}, which is read; choose another output path`);
	}
	const taken: string[] = [];
	for (const output of outputs) if (await isTaken(output)) taken.push(output);
	if (taken.length > 0 && !overwrite) {
		throw new UsageError(`${taken.join(", ")}: already there; choose another output path, or replace with --overwrite`);
	}
	for (const output of outputs) await makeFolder(dirname(resolve(output)));
}

async function makeFolder(folder: string): Promise<void> {
	try {
		await mkdir(folder, { recursive: true });
		await access(folder, constants.W_OK);
	} catch (error) {
		throw new UsageError(`${folder}: can't be written: ${(error as Error).message}; choose another output path`);
	}
}

/** Removes what an earlier run wrote, by the names that runs write; what else is in the folders stays. */
export async function clearOutputs({
	files = [],
	checkpoint,
	logs,
}: {
	files?: string[];
	checkpoint?: string;
	logs?: string;
}): Promise<void> {
	for (const file of files) await rm(file, { force: true });
	if (checkpoint !== undefined)
		await removeIn(
			checkpoint,
			/^(checkpoint-\d+|\.checkpoint-\d+\..*|(adapter_)?config\.json|.*\.safetensors|.*\.safetensors\.index\.json|prompt\.txt)$/,
		);
	if (logs !== undefined) await removeIn(logs, /^((metrics|wandb-history|judgements)\.jsonl|events\.out\.tfevents\..*)$/);
}

/** A log folder may hold the sampling stage's logs: training's stand beside them. */
async function isTaken(path: string): Promise<boolean> {
	if (!existsSync(path)) return false;
	try {
		return (await readdir(path)).some((name) => name !== SAMPLING_LOGS);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return true;
		throw error;
	}
}

async function removeIn(folder: string, names: RegExp): Promise<void> {
	if (!existsSync(folder)) return;
	for (const name of await readdir(folder)) if (names.test(name)) await rm(join(folder, name), { recursive: true, force: true });
}
