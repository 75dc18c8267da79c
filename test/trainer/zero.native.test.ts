/** ZeRO's stages against one process with the same global batch: real processes, TensorFlow's collectives over loopback. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LoraOptions } from "../../src/model/lora/lora-options.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { loopback, resultsOf, startWorkers } from "./start-workers.js";
import { expectSameState } from "./training-state.js";
import { workerRun } from "./worker-run.js";

/** 13 rows in batches of 4, once: the last batch has one row, so that most processes have none of it. */
const STEPS = 4;
const ONCE = { maxEpochs: 1 };
/** A row without an image reaches no parameter of the vision tower. */
const LORA: LoraOptions = { rank: 2, targetModules: ["q_proj", "merger.mlp.2"], modulesToSave: ["language_model.norm"] };

let scratch: string;
let straight: Awaited<ReturnType<typeof workerRun>>;
const at = (...names: string[]) => path.join(scratch, ...names);
const expectSame = (folder: string, step = STEPS, expected = "straight") =>
	expectSameState(at(folder, `checkpoint-${step}`), at(expected, `checkpoint-${step}`));

describe.skipIf(nativeMissing)(`ZeRO (${nativeMissing ?? "staged"})`, () => {
	beforeAll(async () => {
		scratch = await mkdtemp(path.join(tmpdir(), "rft-zero-"));
		straight = await workerRun({ savePath: at("straight"), options: ONCE });
	});
	afterAll(() => rm(scratch, { recursive: true }));

	it.each([
		[1, 2],
		[1, 3],
		[2, 2],
		[2, 3],
	] as const)("stage %i on %i processes makes the updates of one process", async (zeroStage, size) => {
		const folder = `stage-${zeroStage}-of-${size}`;
		const results = await resultsOf(startWorkers({ savePath: at(folder), options: { ...ONCE, zeroStage } }, await loopback(size)));
		expect(straight.history.some(({ gradNorm }) => gradNorm > 1)).toBe(true); // clipped by the norm of all shards
		for (const { history, leaked } of results) {
			expect(history).toHaveLength(STEPS);
			for (const [i, { loss, gradNorm }] of history.entries()) {
				expect(Math.abs(loss / straight.history[i].loss - 1)).toBeLessThan(1e-5);
				expect(Math.abs(gradNorm / straight.history[i].gradNorm - 1)).toBeLessThan(1e-5);
			}
			expect(leaked).toBe(straight.leaked);
		}
		for (const step of [2, STEPS]) await expectSame(folder, step);
	});

	it("killed, one is named and nothing is saved of what it took along; other stages and numbers of processes go on", async () => {
		const folder = "killed";
		const run = { savePath: at(folder), options: { ...ONCE, zeroStage: 2 } } as const;
		const [first, , third] = startWorkers(run, await loopback(3));
		while (!existsSync(at(folder, "checkpoint-2"))) await setTimeout(5);
		third.child.kill("SIGKILL");
		const { code, stderr } = await first.ended;
		if (code !== 0) expect(stderr).toMatch(/WorkerLostError: worker [12] \(127\.0\.0\.1:\d+\) is gone/);
		expect((await readdir(at(folder))).filter((name) => !["checkpoint-2", "checkpoint-4"].includes(name))).toEqual([]);
		await rm(at(folder, "checkpoint-4"), { recursive: true, force: true });

		const on = { ...ONCE, resumeFromCheckpoint: at(folder) };
		await resultsOf(startWorkers({ savePath: at(folder), options: { ...on, zeroStage: 1 } }, await loopback(2)));
		await expectSame(folder);
		await rm(at(folder, "checkpoint-4"), { recursive: true });
		const { history } = await workerRun({ savePath: at(folder), options: on }); // alone, from the shards of three
		expect(history).toHaveLength(STEPS);
		await expectSame(folder);
	}, 120_000);

	it("trains adapters, whole and in shards", async () => {
		await workerRun({ savePath: at("adapter"), options: ONCE, lora: LORA });
		for (const zeroStage of [0, 2] as const) {
			const folder = `adapter-${zeroStage}`;
			await resultsOf(startWorkers({ savePath: at(folder), options: { ...ONCE, zeroStage }, lora: LORA }, await loopback(2)));
			expect(await readdir(at(folder))).toContain("adapter_config.json");
			await expectSame(folder, STEPS, "adapter");
		}
	}, 120_000);
});
