/** The trainer on the real port, real image files and real checkpoint folders; the numbers are golden.suite.ts's business. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { memory } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import type { ShareGptConversation } from "../../src/trainer/sharegpt.js";
import { Trainer } from "../../src/trainer/trainer.js";
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
