/**
 * One process of a training run, of several or alone: `node --import tsx test/trainer/worker-run.ts '{"folder":…,"workers":[…],"rank":…}'`. It ends
 * with a checkpoint and, on stdout, one line of JSON.
 */
import path from "node:path";
import { joinWorkers } from "../../src/backend/cluster/worker-group.js";
import { memory } from "../../src/backend/tf.js";
import type { LoraOptions } from "../../src/model/lora/lora-options.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import { goldenPath } from "../fixtures/read-golden.js";

export interface WorkerRun {
	savePath: string;
	/** Default: alone. */
	workers?: string[];
	rank?: number;
	/** Rows to train on: conversations, or with the option `dpo` pairs. Default 13. */
	rows?: number;
	options?: Partial<TrainerOptions>;
	/** Trains an adapter. */
	lora?: LoraOptions;
}

const images = ["two-red-circles.png", "blue-triangle.png"].map((name) => path.resolve("test/fixtures/hpdv3/images", name));

/** Of unequal lengths; some with an image, some with two, most with none. */
export function trainingRows(count: number) {
	return Array.from({ length: count }, (_, i) => {
		const own = i % 4 === 0 ? images.slice(0, 1 + ((i / 4) % 2)) : [];
		return {
			conversations: [
				{ from: "human" as const, value: `${"<image>".repeat(own.length)} number ${i}` },
				{ from: "gpt" as const, value: `the answer is ${"very ".repeat(i)}${i}` },
			],
			images: own,
		};
	});
}

/** The same with an answer to reject. */
export function trainingPairs(count: number) {
	return trainingRows(count).map(({ conversations: [asked, said], images }, i) => ({
		...{ conversations: [asked], chosen: { from: "gpt" as const, value: said.value }, images },
		rejected: { from: "gpt" as const, value: `no ${"no ".repeat(count - i)}` },
	}));
}

export async function workerRun({ savePath, workers, rank = 0, rows = 13, options, lora }: WorkerRun) {
	const group = workers && (await joinWorkers({ workers, rank, backend: "native-cpu", joinTimeout: 60, timeout: 60 }));
	await using model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu", maxPixels: 3136, lora });
	const before = memory().numTensors;
	const { history, evaluations, dropped } = await new Trainer(model, {
		...{ trainBatchSize: 4, microTrainBatchSize: 2, maxEpochs: 2, learningRate: 1e-3, warmupRatio: 0, seed: 3 },
		...{ savePath, saveSteps: 2, workers: group, ...options },
	}).fit(options?.dpo ? trainingPairs(rows) : trainingRows(rows));
	const leaked = memory().numTensors - before;
	await group?.leave();
	const steps = history.map(({ loss, gradNorm, tokens }) => ({ loss, gradNorm, tokens }));
	return { history: steps, evaluations, dropped: dropped.length, leaked };
}

if (process.argv[1]?.endsWith("worker-run.ts")) {
	process.stdout.write(`${JSON.stringify(await workerRun(JSON.parse(process.argv[2]) as WorkerRun))}\n`);
}
