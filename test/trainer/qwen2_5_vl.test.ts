/** The trainer on the real port, real image files and real checkpoint folders; the numbers are golden.suite.ts's business. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { currentNativeBackend } from "../../src/backend/native-binding.js";
import { memory } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import type { ShareGptConversation } from "../../src/trainer/sharegpt.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import { goldenPath } from "../fixtures/read-golden.js";

let model: Qwen2_5VLModel;
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(path.join(tmpdir(), "trainer-qwen-"));
	model = await loadModel(goldenPath("tiny-qwen2_5_vl"));
});
afterAll(async () => {
	await model?.[Symbol.asyncDispose]();
	await rm(dir, { recursive: true });
});

const row = (images: string[], answer: string): ShareGptConversation => ({
	conversations: [
		{ from: "human", value: `${"<image>\n".repeat(images.length)}Which is better?` },
		{ from: "gpt", value: answer },
	],
	images,
});
const ROWS = [
	row(["chelsea.png", "coffee.png"], "Image 1 is better"),
	row(["coffee.png", "chelsea.png"], "Image 2 is better"),
	row([], "There is no image"),
	row(["chelsea_tiny.png"], "There is one image"),
];

/** Cut off after some steps, as by a kill: what counts is the last checkpoint. */
async function parametersAfter(options: TrainerOptions): Promise<Float32Array[]> {
	const fresh = await loadModel(goldenPath("tiny-qwen2_5_vl"));
	const run = { trainBatchSize: 3, microTrainBatchSize: 2, maxSteps: 6, learningRate: 3e-3, gradientCheckpointing: true };
	const { signatures } = await new Trainer(fresh, { ...run, dataRoot: goldenPath("images"), ...options }).fit(ROWS);
	expect(signatures > 0).toBe(currentNativeBackend() !== undefined && !options.eager);
	const values = await Promise.all([...fresh.namedParameters().values()].map((parameter) => parameter.data()));
	await fresh[Symbol.asyncDispose]();
	return values as Float32Array[];
}

it("goes on from a checkpoint to the same parameters, bit for bit, in graphs", async () => {
	const straight = await parametersAfter({ savePath: dir, saveSteps: 2 });
	expect(await parametersAfter({ resumeFromCheckpoint: path.join(dir, "checkpoint-2") })).toEqual(straight);
	expect(await parametersAfter({ resumeFromCheckpoint: path.join(dir, "checkpoint-4") })).toEqual(straight);
});

it("takes the same steps eagerly but for rounding", async () => {
	const [graphs, eager] = [await parametersAfter({}), await parametersAfter({ eager: true })];
	for (const [i, parameter] of graphs.entries()) {
		const off = Math.hypot(...parameter.map((value, j) => value - eager[i][j]));
		expect(off / Math.hypot(...eager[i])).toBeLessThan(1e-4);
	}
});

it("learns rows with two, one and no images, leaks nothing, and its checkpoints load as models", async () => {
	const before = memory().numTensors;
	const counts = new Set<number>();
	const { history, dropped } = await new Trainer(model, {
		...{ trainBatchSize: 4, microTrainBatchSize: 2, maxEpochs: 6, learningRate: 3e-3, warmupRatio: 0, seed: 3 },
		...{ dataRoot: goldenPath("images"), savePath: dir, saveSteps: 6 },
		onEvent: (event) => event.type === "step" && counts.add(memory().numTensors),
	}).fit(ROWS);
	expect(dropped).toEqual([]);
	expect(history[5].loss).toBeLessThan(history[0].loss / 2);
	expect(counts.size).toBe(1);
	expect(memory().numTensors).toBe(before);

	for (const folder of [dir, path.join(dir, "checkpoint-6")]) {
		const loaded = await loadModel(folder);
		for (const [name, parameter] of loaded.namedParameters()) {
			expect(await parameter.data(), name).toEqual(await model.namedParameters().get(name)!.data());
		}
		await loaded[Symbol.asyncDispose]();
	}
});
