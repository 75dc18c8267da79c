/** Several processes against one with the same global batch: real processes, TensorFlow's collectives over loopback. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { loopback, resultsOf, startWorker, startWorkers } from "./start-workers.js";
import { expectSameState } from "./training-state.js";
import { trainingRows, workerRun } from "./worker-run.js";

/** 13 rows in batches of 4, twice: the last batch of an epoch has one row, so that most processes have none of it. */
const STEPS = 8;

let scratch: string;
let straight: Awaited<ReturnType<typeof workerRun>>;
const at = (...names: string[]) => path.join(scratch, ...names);

const expectSame = (folder: string, step: number) =>
	expectSameState(at(folder, `checkpoint-${step}`), at("straight", `checkpoint-${step}`));

describe.skipIf(nativeMissing)(`training on several processes (${nativeMissing ?? "staged"})`, () => {
	beforeAll(async () => {
		scratch = await mkdtemp(path.join(tmpdir(), "rft-workers-"));
		straight = await workerRun({ savePath: at("straight") });
	});
	afterAll(() => rm(scratch, { recursive: true }));

	it.each([2, 3])("%i make the same updates as one, with unequal shares and a last step of one row", async (size) => {
		const folder = `of-${size}`;
		const results = await resultsOf(startWorkers({ savePath: at(folder) }, await loopback(size)));
		for (const { history, leaked } of results) {
			expect(history).toHaveLength(STEPS);
			expect(history.map(({ tokens }) => tokens)).toEqual(straight.history.map(({ tokens }) => tokens));
			for (const [i, { loss, gradNorm }] of history.entries()) {
				expect(Math.abs(loss / straight.history[i].loss - 1)).toBeLessThan(1e-5);
				expect(Math.abs(gradNorm / straight.history[i].gradNorm - 1)).toBeLessThan(1e-5);
			}
			expect(leaked).toBe(straight.leaked);
		}
		for (const step of [2, STEPS]) await expectSame(folder, step);
	});

	it("share out held-out conversations, and all have the loss that one process has", async () => {
		const options = { maxSteps: 2, evalEvery: 1, evalDataset: trainingRows(5) };
		const alone = await workerRun({ savePath: at("evaluated"), options });
		const both = await resultsOf(startWorkers({ savePath: at("evaluated-2"), options }, await loopback(2)));
		expect(alone.evaluations.map(({ step }) => step)).toEqual([1, 2]);
		expect(both[1].evaluations).toEqual(both[0].evaluations);
		for (const [i, { scores }] of alone.evaluations.entries()) {
			expect(Math.abs(both[0].evaluations[i].scores.loss / scores.loss - 1)).toBeLessThan(1e-5);
		}
	}, 60_000);

	it("killed, one is named by the others within seconds, they save, and another number of processes goes on to the same end", async () => {
		const folder = "killed";
		const [first, second] = startWorkers({ savePath: at(folder) }, await loopback(2));
		while (!existsSync(at(folder, "checkpoint-2"))) await setTimeout(20);
		second.child.kill("SIGKILL");
		const killed = performance.now();
		const { code, stderr } = await first.ended;
		expect(performance.now() - killed).toBeLessThan(15_000);
		expect(code).toBe(1);
		expect(stderr).toMatch(/WorkerLostError: worker 1 \(127\.0\.0\.1:\d+\) is gone \(ECONNREFUSED\).*--resume_from_checkpoint/);
		const results = await resultsOf(
			startWorkers({ savePath: at(folder), options: { resumeFromCheckpoint: at(folder) } }, await loopback(3)),
		);
		expect(results[0].history).toHaveLength(STEPS);
		await expectSame(folder, STEPS);
	}, 120_000);

	it("refuses workers with other rows, in all of them, naming who differs", async () => {
		const addresses = await loopback(2);
		const started = [13, 12].map((rows, rank) => startWorker({ savePath: at("other"), rows }, addresses, rank));
		for (const { code, stderr } of await Promise.all(started.map(({ ended }) => ended))) {
			expect(code).toBe(1);
			expect(stderr).toContain("workers 1 differ from worker 0 in their rows and options; start all with the same data and options");
		}
	});
});
