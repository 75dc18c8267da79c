/** What becomes of a run that is stopped, of its checkpoints that are damaged, and of one that is resumed as another run. */
import { execFile } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import type { TrainingRow } from "../../src/trainer/collate.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import type { TrainingEvent } from "../../src/trainer/training-events.js";
import { BigramModel } from "../fakes/bigram-model.js";
import { withoutClock } from "./without-clock.js";

const say = (text: string) => ({
	messages: [
		{ role: "user" as const, content: "say" },
		{ role: "assistant" as const, content: text },
	],
});
const ROWS: TrainingRow[] = ["abcabcabc", "xyzxyz", "hello hello", "mnmnmnmnmn", "0123456789", "zyx", "foo bar foo bar", "qrs qrs"].map(
	say,
);
const FAST: TrainerOptions = { trainBatchSize: 3, learningRate: 0.05, maxEpochs: 4, warmupRatio: 0 };

let dir: string;
let model: BigramModel;
beforeAll(async () => {
	await selectBackend("cpu");
});
beforeEach(async () => {
	dir = await mkdtemp(path.join(tmpdir(), "interruption-"));
	model = new BigramModel();
});
afterEach(async () => {
	await model[Symbol.asyncDispose]();
	await rm(dir, { recursive: true });
});
const train = (options: TrainerOptions, rows: TrainingRow[] = ROWS) => new Trainer(model, { ...FAST, ...options }).fit(rows);
const at = (...names: string[]) => path.join(dir, ...names);

describe("resuming", () => {
	const EVERYTHING: TrainerOptions = {
		...{ neftuneNoiseAlpha: 5, labelSmoothing: 0.1, groupByLength: true, packing: true, microTrainBatchSize: 2 },
		...{ lrScheduler: "warmup_stable_decay", freeze: ["model\\.norm.*"] },
	};

	it.each([
		["AdamW", {}],
		["Adafactor", { optimizer: "adafactor" }],
		["all that is optional", EVERYTHING],
	] as [string, TrainerOptions][])("has the same bits as a run that never stopped, with %s", async (_, options) => {
		const straight = await train({ ...options, savePath: dir, saveSteps: 5, logDir: at("logs") });
		const expected = await model.values();
		const metrics = await metricLines(at("logs"));
		await model[Symbol.asyncDispose]();
		model = new BigramModel(options.freeze ? 1 : 99); // what is frozen comes from the model
		const before = memory().numTensors;
		const resumed = await train({ ...options, resumeFromCheckpoint: at("checkpoint-5"), logDir: at("logs") });
		expect(memory().numTensors).toBe(before);
		expect(await model.values()).toEqual(expected);
		const comparable = (r: typeof resumed) => r.history.map(({ tokensPerSecond, ...record }) => record);
		expect(comparable(resumed)).toEqual(comparable(straight));
		expect(await metricLines(at("logs"))).toEqual(metrics);
	});

	/** Without what is measured by the clock. */
	async function metricLines(logs: string): Promise<unknown[]> {
		const lines = (await readFile(path.join(logs, "metrics.jsonl"), "utf8")).trim().split("\n");
		return lines.map(withoutClock);
	}

	it("takes the newest of a folder, and leaves out metrics that come again, a cut-off line among them", async () => {
		await train({ savePath: dir, saveSteps: 5, logDir: at("logs") });
		await appendFile(at("logs", "metrics.jsonl"), '{"step":13,"ti');
		const { steps, history } = await train({ resumeFromCheckpoint: dir, logDir: at("logs") });
		expect([steps, history.length]).toEqual([12, 12]);
		expect((await metricLines(at("logs"))).map((line) => (line as { step: number }).step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
	});

	it.each([
		[{ seed: 1 }, /seed was 42 and is now 1\. Resume with the same/],
		[{ trainBatchSize: 2, learningRate: 0.1 }, /learningRate was 0\.05 and is now 0\.1.*trainBatchSize was 3 and is now 2/],
		[{ optimizer: "adafactor" }, /optimizer was "adamw" and is now "adafactor"; betas was \[0\.9,0\.95\] and is now null/],
		[{ freeze: ["visual.*"] }, /freeze was \[\] and is now \["visual\.\*"\]/],
		[{ maxEpochs: 5 }, /totalSteps was 12 and is now 15/],
	] as [TrainerOptions, RegExp][])("refuses other options: %j", async (options, message) => {
		await train({ savePath: dir, saveSteps: 2 });
		await expect(train({ ...options, resumeFromCheckpoint: at("checkpoint-2") })).rejects.toThrow(message);
	});

	it("refuses other data, and shows where it differs", async () => {
		await train({ savePath: dir, saveSteps: 2 });
		const resume = (rows: TrainingRow[]) => train({ resumeFromCheckpoint: at("checkpoint-2") }, rows);
		await expect(resume(ROWS.slice(1))).rejects.toThrow(/there were 8 rows and now are 7/);
		await expect(resume(ROWS.with(5, say("another")))).rejects.toThrow(/the data is another: its first difference is in rows 5 to 5/);
	});

	it("may compute its steps otherwise, and at a constant rate go on for longer", async () => {
		await train({ savePath: dir, saveSteps: 12, lrScheduler: "constant" });
		const options: TrainerOptions = { lrScheduler: "constant", maxEpochs: 5, microTrainBatchSize: 3, packing: true };
		expect((await train({ ...options, resumeFromCheckpoint: dir })).steps).toBe(15);
	});

	it("says what is missing where there is nothing to resume from", async () => {
		await expect(train({ resumeFromCheckpoint: dir })).rejects.toThrow(/nothing to resume from: expected a checkpoint-<step> folder/);
		await expect(train({ resumeFromCheckpoint: at("nowhere") })).rejects.toThrow(/nothing to resume from/);
	});
});

describe("a damaged checkpoint", () => {
	const damages: [string, (checkpoint: string) => Promise<void>, RegExp][] = [
		["cut off", (c) => truncate(path.join(c, "optimizer.safetensors"), 100), /optimizer\.safetensors has 100 bytes, expected \d+/],
		["missing", (c) => rm(path.join(c, "model.json")), /model\.json is missing/],
		["flipped", flipByte, /optimizer\.safetensors has SHA-256 [0-9a-f]{12}…, expected [0-9a-f]{12}…/],
		["without checksums", (c) => rm(path.join(c, "checksums.json")), /checksums\.json: ENOENT/],
	];
	async function flipByte(checkpoint: string): Promise<void> {
		const file = path.join(checkpoint, "optimizer.safetensors");
		const bytes = await readFile(file);
		bytes[bytes.length - 1] ^= 1;
		await writeFile(file, bytes);
	}

	it.each(damages)("that is %s is refused, naming a whole one, and passed over in its folder", async (_, damage, message) => {
		await train({ savePath: dir, saveSteps: 4 });
		const expected = await model.values();
		await damage(at("checkpoint-12"));
		const refused = train({ resumeFromCheckpoint: at("checkpoint-12") });
		await expect(refused).rejects.toThrow(message);
		await expect(refused).rejects.toThrow(`resume from ${at("checkpoint-8")}, the newest whole one`);
		const events: TrainingEvent[] = [];
		await train({ resumeFromCheckpoint: dir, onEvent: (event) => events.push(event) });
		expect(await model.values()).toEqual(expected);
		expect(events.filter(({ type }) => type === "damaged-checkpoint")).toMatchObject([{ dir: at("checkpoint-12") }]);
		expect(events.filter(({ type }) => type === "step")).toHaveLength(4);
	});

	it("that is the only one can't be resumed", async () => {
		await train({ savePath: dir, saveSteps: 12 });
		await flipByte(at("checkpoint-12"));
		await expect(train({ resumeFromCheckpoint: dir })).rejects.toThrow(/none of its 1 checkpoints is whole; begin anew/);
	});
});

describe("saving", () => {
	it("keeps the newest and the best", async () => {
		const scores = [0.1, 0.9, 0.2, 0.3, 0.9, 0.4];
		const evaluate = async (_: unknown, step: number) => ({ accuracy: scores[step / 2 - 1] });
		const keeping: TrainerOptions = { savePath: dir, saveSteps: 2, saveTotalLimit: 2, evaluate, evalEvery: 2 };
		const { best } = await train({ ...keeping, bestMetric: "accuracy" });
		expect(best).toEqual({ step: 4, score: 0.9, dir: at("checkpoint-4") });
		const checkpoints = async () => (await readdir(dir)).filter((name) => name.startsWith("checkpoint-")).sort();
		expect(await checkpoints()).toEqual(["checkpoint-10", "checkpoint-12", "checkpoint-4"]);
		expect((await train({ ...keeping, bestMetric: "accuracy", greaterIsBetter: false })).best?.step).toBe(2);
		await expect(train({ ...keeping, bestMetric: "f1" })).rejects.toThrow(/bestMetric: f1 is not among .* accuracy/);
	});

	it("saves the best where no checkpoint was due", async () => {
		const evaluate = async (_: unknown, step: number) => ({ loss: Math.abs(step - 6) });
		const { best } = await train({ savePath: dir, saveTotalLimit: 1, evaluate, evalEvery: 3, bestMetric: "loss", greaterIsBetter: false });
		expect(best).toEqual({ step: 6, score: 0, dir: at("checkpoint-6") });
		expect(
			(await train({ evaluate, evalEvery: 3, bestMetric: "loss", greaterIsBetter: false, resumeFromCheckpoint: dir })).best?.step,
		).toBe(6);
	});

	it("takes a score that is no number as one that is not better, and goes on", async () => {
		const scores = [Number.NaN, 0.5, Number.NaN, 0.4, Number.NaN, 0.4];
		const evaluate = async (_: unknown, step: number) => ({ accuracy: scores[step / 2 - 1] });
		const scored: TrainerOptions = { evaluate, evalEvery: 2, bestMetric: "accuracy" };
		expect(await train(scored)).toMatchObject({ steps: 12, best: { step: 4, score: 0.5 } });
		expect((await train({ ...scored, earlyStoppingPatience: 2 })).steps).toBe(8);
	});

	it("stops early after evaluations that bring nothing better, also when that run is resumed", async () => {
		const scores = [0.1, 0.9, 0.85, 0.93, 1, 1];
		const evaluate = async (_: unknown, step: number) => ({ accuracy: scores[step / 2 - 1] });
		const stopping: TrainerOptions = { savePath: dir, saveSteps: 2, evaluate, evalEvery: 2, bestMetric: "accuracy" };
		const patient = { ...stopping, earlyStoppingPatience: 2, earlyStoppingThreshold: 0.05 };
		const events: TrainingEvent[] = [];
		expect(await train({ ...patient, onEvent: (event) => events.push(event) })).toMatchObject({ steps: 8, best: { step: 8 } });
		expect(events.filter(({ type }) => type === "early-stop")).toEqual([{ type: "early-stop", step: 8 }]);
		expect((await train({ ...patient, resumeFromCheckpoint: dir })).steps).toBe(8);
		expect((await train({ ...stopping, earlyStoppingPatience: 2 })).steps).toBe(12); // 0.93 is better by a little
		await expect(train({ earlyStoppingPatience: 1 })).rejects.toThrow(/earlyStoppingPatience without bestMetric/);
	});

	it("keeps the earlier ones where the disk is full, leaves nothing half-written, and says so", async () => {
		const save = model.save.bind(model);
		model.save = async (folder) => {
			await save(folder);
			if (!folder.includes("checkpoint-6")) return;
			throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
		};
		await expect(train({ savePath: dir, saveSteps: 3, saveTotalLimit: 1 })).rejects.toThrow("ENOSPC");
		expect(await readdir(dir)).toEqual(["checkpoint-3"]);
		model.save = save;
		expect((await train({ resumeFromCheckpoint: dir })).steps).toBe(12);
	});

	it("the same on a real disk that is full; with room again it goes on to the same end", async (context) => {
		const mount = (...options: string[]) => promisify(execFile)("mount", [...options, dir]);
		const refused = await mount("-t", "tmpfs", "-o", "size=128k", "tfjs-rft-test").then(
			() => undefined,
			(error: Error) => error.message,
		);
		if (refused !== undefined) return context.skip(`no tmpfs can be mounted here (${refused.trim()})`);
		try {
			await expect(train({ savePath: dir, saveSteps: 3, saveTotalLimit: 1 })).rejects.toThrow("ENOSPC");
			expect(await readdir(dir)).toEqual(["checkpoint-3"]);
			await mount("-o", "remount,size=8m");
			await train({ savePath: dir, saveSteps: 3, saveTotalLimit: 1, resumeFromCheckpoint: dir });
			const got = await model.values();
			await model[Symbol.asyncDispose]();
			model = new BigramModel();
			await train({});
			expect(got).toEqual(await model.values());
		} finally {
			await promisify(execFile)("umount", [dir]);
		}
	});

	it("throws why an aborted run could not be saved, and not the signal's reason", async () => {
		const abort = new AbortController();
		model.save = async () => {
			throw new Error("ENOSPC: no space left on device, write");
		};
		const onEvent = ({ type }: TrainingEvent) => type === "step" && abort.abort(new Error("SIGTERM"));
		await expect(train({ savePath: dir, signal: abort.signal, onEvent })).rejects.toThrow("ENOSPC");
	});

	it("makes up for an evaluation in which it was stopped, the last one, too", async () => {
		for (const stopAt of [3, 12]) {
			const abort = new AbortController();
			const scores = (step: number) => ({ accuracy: step / 100 });
			const stopping = async (_: unknown, step: number) => {
				if (step < stopAt) return scores(step);
				abort.abort(new Error("SIGTERM"));
				throw abort.signal.reason;
			};
			const run = train({ savePath: at(String(stopAt)), evaluate: stopping, evalEvery: 3, signal: abort.signal });
			await expect(run).rejects.toThrow("SIGTERM");
			const evaluate = async (_: unknown, step: number) => scores(step);
			const { evaluations } = await train({ evaluate, evalEvery: 3, resumeFromCheckpoint: at(String(stopAt)) });
			expect(evaluations).toEqual([3, 6, 9, 12].map((step) => ({ step, scores: scores(step) })));
		}
	});

	it("clears away what a killed run left half-written", async () => {
		await mkdir(at(".checkpoint-3.123-abcd1234.tmp"));
		await train({ savePath: dir, saveSteps: 12 });
		expect((await readdir(dir)).sort()).toEqual(["checkpoint-12", "model.json"]);
	});
});
