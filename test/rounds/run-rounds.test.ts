/** The loop with rounds that only say how good they are. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type RoundResult, type RoundTask, type RunRoundsOptions, runRounds } from "../../src/index.js";

let folder: string;
let judge: string;
beforeEach(async () => {
	folder = await realpath(await mkdtemp(join(tmpdir(), "rft-rounds-")));
	judge = join(folder, "judge");
	await mkdir(judge);
});
afterEach(() => rm(folder, { recursive: true }));

/** Plays rounds of these accuracies (an Error is thrown). @returns what was asked, and what came of it */
async function play(accuracies: (number | Error)[], options: Partial<RunRoundsOptions> = {}) {
	const [tasks, results]: [RoundTask[], RoundResult[]] = [[], []];
	const playRound = async (task: RoundTask) => {
		tasks.push({ ...task, earlier: [...task.earlier] });
		const accuracy = accuracies[task.round];
		if (accuracy instanceof Error) throw accuracy;
		const checkpoint = join(task.folder, "checkpoint");
		await mkdir(checkpoint, { recursive: true });
		return { checkpoint, accuracy, facts: { of: task.round } };
	};
	const evaluateFirst = async () => ({ accuracy: accuracies[0] as number });
	const given = { folder: join(folder, "run"), evaluateFirst, ...options };
	for await (const result of runRounds(judge, playRound, given)) results.push(result);
	return { tasks, results, best: await realpath(join(given.folder, "best")) };
}
const at = (...names: string[]) => join(folder, "run", ...names);

it("samples with the newest, trains from the base or the newest, and best leads to the best", async () => {
	const base = await play([0.5, 0.6, 0.8, 0.7]);
	expect(base.tasks.map(({ sampleWith }) => sampleWith)).toEqual([judge, at("round-1", "checkpoint"), at("round-2", "checkpoint")]);
	expect(base.tasks.map(({ trainFrom }) => trainFrom)).toEqual([judge, judge, judge]);
	expect(base.results.map(({ round, accuracy, isBest }) => [round, accuracy, isBest])).toEqual([
		...[
			[0, 0.5, true],
			[1, 0.6, true],
		],
		...[
			[2, 0.8, true],
			[3, 0.7, false],
		],
	]);
	expect(base.best).toBe(at("round-2", "checkpoint"));
	expect(base.tasks[2].earlier.map(({ round, facts }) => [round, facts])).toEqual([
		...[
			[0, undefined],
			[1, { of: 1 }],
		],
		[2, { of: 2 }],
	]);
	const newest = await play([0.5, 0.6, 0.8, 0.7], { folder: join(folder, "newest"), trainFrom: "newest" });
	expect(newest.tasks.map(({ trainFrom }) => trainFrom)).toEqual(newest.tasks.map(({ sampleWith }) => sampleWith));
});

it("stops when accuracy rises no more; a tie is no rise, and the first judge may be the best", async () => {
	const stopped = await play([0.5, 0.7, 0.7, 0.9]);
	expect(stopped.results.map(({ round }) => round)).toEqual([0, 1, 2]);
	expect(stopped.best).toBe(at("round-1", "checkpoint"));
	const patient = await play([0.5, 0.7, 0.6, 0.9, 0.8, 0.8, 1], { folder: join(folder, "patient"), patience: 2, rounds: 6 });
	expect(patient.results.map(({ round }) => round)).toEqual([0, 1, 2, 3, 4, 5]);
	const none = await play([0.5, 0.4], { folder: join(folder, "none") });
	expect([none.results.length, none.best]).toEqual([2, judge]);
});

it("goes on where it was stopped: finished rounds are not played again, also in a folder that was moved", async () => {
	await expect(play([0.5, 0.6, new Error("power cut")])).rejects.toThrow("power cut");
	expect([existsSync(at("round-1", "round.json")), existsSync(at("round-2", "round.json"))]).toEqual([true, false]);
	await writeFile(at("round-2", "journal.jsonl"), "half");
	await rename(at(), join(folder, "moved"));
	await rename(join(folder, "moved"), at());
	const { tasks, results } = await play([0.1, 0.1, 0.8, 0.9]);
	expect(tasks.map(({ round }) => round)).toEqual([2, 3]);
	expect(await readFile(at("round-2", "journal.jsonl"), "utf8")).toBe("half");
	expect(results.map(({ accuracy, isBest }) => [accuracy, isBest])).toEqual([0.5, 0.6, 0.8, 0.9].map((accuracy) => [accuracy, true]));
});

it("refuses rounds of other settings, with a lost judge, or damaged", async () => {
	const settings = { temperature: 1, data: ["a"] };
	await play([0.5, 0.6, 0.4], { settings });
	await expect(play([], { settings: { ...settings, temperature: 0.7, top_p: 0.9 } })).rejects.toThrow(
		/other settings:\n {2}temperature: 1 then, 0.7 now\n {2}top_p: nothing then, 0.9 now/,
	);
	await rm(at("round-1", "checkpoint"), { recursive: true });
	await expect(play([], { settings })).rejects.toThrow(/round-1\/checkpoint is gone/);
	await writeFile(at("round-0", "round.json"), "{");
	await expect(play([], { settings })).rejects.toThrow(/round-0\/round.json: expected a finished round/);
});

it("without a first evaluation begins with round 1; an aborted signal plays no more; counts are checked", async () => {
	const bare = await play([0, 0.1], { evaluateFirst: undefined, rounds: 1 });
	expect(bare.results.map(({ round, isBest }) => [round, isBest])).toEqual([[1, true]]);
	await expect(play([0.5], { folder: join(folder, "a"), signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
	await expect(play([0.5], { rounds: 0 })).rejects.toThrow("runRounds: rounds: expected a whole number, 1 or more, got 0");
});
