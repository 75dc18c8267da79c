/**
 * Rejection-sampling fine-tuning in rounds: sample with the newest judge, train, evaluate, keep the best, stop when it rises no more.
 *
 * The loop alone: what a round is made of is the caller's (`playRound`), of the library's stages or others. A finished round is a file, `round-<n>/round.json`,
 * written last: a run that was interrupted reads those and goes on with the round under way. Choose by pairs that you don't report: whatever the best of
 * several is chosen by looks better than it is.
 */
import { mkdir, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import type { RoundOutcome, RoundResult, RoundTask } from "./round.js";
import { readRound, type Settings, writeRound } from "./round-file.js";

export interface RunRoundsOptions {
	/** Receives `round-1/`, `round-2/`, … and `best`, a link to the best judge so far. */
	folder: string;
	/** At most so many. Default 3. */
	rounds?: number;
	/** Each round fine-tunes the first judge anew (`base`, the default), or what the round before has made. */
	trainFrom?: "base" | "newest";
	/** Ends after so many rounds in a row that are not better than the best before them. Default 1. */
	patience?: number;
	/** What the rounds' numbers depend on, as JSON: a round of other settings is not gone on from. Default: nothing is compared. */
	settings?: Settings;
	/** Accuracy of the first judge on the same pairs: then it may be the best. Asked once, `round-0/round.json` remembers. Default: any round is better than none. */
	evaluateFirst?: (judge: string) => Promise<Omit<RoundOutcome, "checkpoint">>;
	/** Stops before the next round; within one, it is for `playRound` to stop. */
	signal?: AbortSignal;
}

/**
 * @param judge the checkpoint to begin with
 * @yields every round's result, in order, those that were finished before among them; with `evaluateFirst` the first judge's before, as round 0
 * @throws RangeError for options out of range; RoundError for a folder of other settings; what `playRound` throws; the signal's reason
 */
export async function* runRounds(
	judge: string,
	playRound: (task: RoundTask) => Promise<RoundOutcome>,
	{ folder, rounds = 3, trainFrom = "base", patience = 1, settings = {}, evaluateFirst, signal }: RunRoundsOptions,
): AsyncGenerator<RoundResult> {
	checkCounts({ rounds, patience });
	const earlier: RoundResult[] = [];
	let [newest, best] = [judge, undefined as RoundResult | undefined];
	for (let round = evaluateFirst ? 0 : 1; round <= rounds; round++) {
		signal?.throwIfAborted();
		const own = join(folder, `round-${round}`);
		await mkdir(own, { recursive: true });
		let outcome = await readRound(own, settings);
		if (!outcome) {
			const task = { round, folder: own, sampleWith: newest, trainFrom: trainFrom === "base" ? judge : newest, earlier };
			outcome = round === 0 && evaluateFirst ? { checkpoint: judge, ...(await evaluateFirst(judge)) } : await playRound(task);
			await writeRound(own, outcome, settings);
		}
		const result = { ...outcome, round, folder: own, isBest: best === undefined || outcome.accuracy > best.accuracy };
		if (result.isBest) {
			best = result;
			await linkBest(join(folder, "best"), outcome.checkpoint);
		}
		earlier.push(result);
		newest = outcome.checkpoint;
		yield result;
		if (best && round - best.round >= patience) return;
	}
}

/** A link that is there or not, and never half: made under another name and renamed. */
async function linkBest(link: string, checkpoint: string): Promise<void> {
	const made = `${link}.new`;
	await rm(made, { force: true });
	await symlink(relative(dirname(resolve(link)), resolve(checkpoint)), made, "dir");
	await rename(made, link);
}

function checkCounts(counts: Record<string, number>): void {
	for (const [name, value] of Object.entries(counts)) {
		if (Number.isInteger(value) && value >= 1) continue;
		throw new RangeError(`runRounds: ${name}: expected a whole number, 1 or more, got ${value}`);
	}
}
