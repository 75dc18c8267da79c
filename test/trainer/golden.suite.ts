/**
 * Loss, gradients and three AdamW steps against torch's (test/reference/make_goldens.py, `sec_train`), run on each backend by a
 * file of its own. Pixel values are the reference's.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import type { BackendName } from "../../src/backend/select-backend.js";
import { memory, norm, type Tensor } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { accumulateGradients, disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { clipFactor } from "../../src/trainer/clip-grad-norm.js";
import type { TrainingExample } from "../../src/trainer/collate.js";
import { MicroStep } from "../../src/trainer/micro-step.js";
import { type FlatGradients, splitLike } from "../../src/trainer/parameter-buckets.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";

const reference = z
	.object({
		loss: z.number(),
		label_tokens: z.number(),
		grad_norms: z.record(z.string(), z.number()),
		step_losses: z.array(z.number()),
		loss_after: z.number(),
		step_grad_norms: z.array(z.number()),
		after3: z.record(z.string(), z.object({ sum: z.number(), l2: z.number() })),
	})
	.parse(JSON.parse(readFileSync(goldenPath("train.json"), "utf8")));

/** The batch's rows as examples: padding cut off, each with its own two images. */
export async function examples(): Promise<TrainingExample[]> {
	const train = await golden("train");
	const images = await golden("forward");
	const { data: ids, shape } = train.int("input_ids");
	const mask = train.int("attention_mask").data;
	const labels = train.int("labels").data;
	const grids = images.int("image_grid_thw").data;
	const pixels = images.float("pixel_values");
	const [rows, length] = shape;
	const imagesPerRow = grids.length / 3 / rows;
	let patch = 0;
	return Array.from({ length: rows }, (_, row) => {
		const tokens = mask.subarray(row * length, (row + 1) * length).reduce((sum, m) => sum + m, 0);
		const cut = (values: Int32Array) => values.slice(row * length, row * length + tokens);
		const own = Array.from({ length: imagesPerRow }, (_, i) => {
			const gridThw = [...grids.subarray(3 * (row * imagesPerRow + i), 3 * (row * imagesPerRow + i) + 3)] as [number, number, number];
			const patches = gridThw[0] * gridThw[1] * gridThw[2];
			const [, width] = pixels.shape;
			const data = pixels.data.slice(patch * width, (patch + patches) * width);
			patch += patches;
			return { gridThw, pixelValues: { data, shape: [patches, width] as [number, number] } };
		});
		const assistantMask = Uint8Array.from(cut(labels), (label) => (label === -100 ? 0 : 1));
		return { row, encoded: { inputIds: cut(ids), assistantMask, images: own } };
	});
}

/** |a − b| in L2, over |b|. */
export function relativeL2(got: ArrayLike<number>, want: ArrayLike<number>): number {
	expect(got.length).toBe(want.length);
	let difference = 0;
	let size = 0;
	for (let i = 0; i < want.length; i++) {
		difference += (got[i] - want[i]) ** 2;
		size += want[i] ** 2;
	}
	return Math.sqrt(difference / size);
}

const relative = (got: number, want: number) => Math.abs(got - want) / Math.abs(want);

/** TensorFlow fuses ops where a graph lets it, which rounds otherwise. */
const GRAPHS_DIFFER = 5e-6;

/** Torch's optimizer of the reference: decay on every parameter. */
const ADAMW = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, decayAll: true } as const;

/** @param eager without graphs */
export function trainingGoldenSuite(backend: BackendName, eager = false): void {
	let model: Qwen2_5VLModel;
	let optimizer: AdamW;
	let microSteps: MicroStep[];
	let rows: TrainingExample[];
	beforeAll(async () => {
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend });
		optimizer = new AdamW(model.namedParameters(), { ...ADAMW, eager });
		const { buckets } = optimizer;
		microSteps = [false, true].map((gradientCheckpointing) => new MicroStep(model, { buckets, gradientCheckpointing, eager }));
		rows = await examples();
	});
	afterAll(async () => {
		for (const step of microSteps ?? []) step.dispose();
		optimizer?.dispose();
		await model?.[Symbol.asyncDispose]();
	});
	const forwardBackward = (microTrainBatchSize: number, gradientCheckpointing = false) =>
		accumulateGradients(model, rows, {
			...{ microTrainBatchSize, buckets: optimizer.buckets, microStep: microSteps[gradientCheckpointing ? 1 : 0] },
		});

	function byName(gradients: FlatGradients): Map<string, Tensor> {
		return new Map(
			optimizer.buckets.flatMap((bucket, i) => {
				const parts = splitLike(gradients[i]!, bucket.variables);
				return bucket.names.map((name, j): [string, Tensor] => [name, parts[j]]);
			}),
		);
	}

	it.each([
		["in one batch", 2, false],
		["accumulated over two micro-batches", 1, false],
		["with gradient checkpointing", 2, true],
	])("has torch's loss (rel 1e-5) and gradients (rel 1e-3), %s", async (_, microTrainBatchSize, gradientCheckpointing) => {
		const { gradients, loss, gradNorm } = await forwardBackward(microTrainBatchSize, gradientCheckpointing);
		expect(relative(loss, reference.loss)).toBeLessThanOrEqual(1e-5);
		expect(relative(gradNorm, reference.step_grad_norms[0])).toBeLessThanOrEqual(1e-3);
		const named = byName(gradients);
		expect([...named.keys()].sort()).toEqual(Object.keys(reference.grad_norms).sort());
		for (const [name, gradient] of named) {
			const size = norm(gradient);
			expect(relative((await size.data())[0], reference.grad_norms[name]), name).toBeLessThanOrEqual(1e-3);
			size.dispose();
		}
		const train = await golden("train");
		const handful = train.names.filter((name) => name.startsWith("grad."));
		expect(handful).toHaveLength(13);
		for (const name of handful) {
			const got = await named.get(name.slice("grad.".length))!.data();
			expect(relativeL2(got, train.float(name).data), name).toBeLessThanOrEqual(1e-3);
		}
		for (const gradient of named.values()) gradient.dispose();
		disposeGradients(gradients);
	});

	it("has the same gradients with gradient checkpointing, eager to the bit, and leaves no tensor behind", async () => {
		const before = memory().numTensors;
		const [kept, again] = [await forwardBackward(2), await forwardBackward(2, true)];
		expect(relative(again.loss, kept.loss)).toBeLessThanOrEqual(GRAPHS_DIFFER);
		for (const [i, gradient] of kept.gradients.entries()) {
			const [got, want] = [await again.gradients[i]!.data(), await gradient!.data()];
			if (eager) expect(got).toEqual(want);
			else expect(relativeL2(got, want)).toBeLessThanOrEqual(GRAPHS_DIFFER);
		}
		disposeGradients(kept.gradients);
		disposeGradients(again.gradients);
		expect(memory().numTensors).toBe(before);
	});

	if (!eager)
		it("has the eager loss and gradients but for rounding: 1e-6 with oneDNN off, 5e-6 with it on", async () => {
			const { buckets } = optimizer;
			const opByOp = new MicroStep(model, { buckets, eager: true });
			const [graphs, want] = [
				await forwardBackward(2),
				await accumulateGradients(model, rows, { ...{ microTrainBatchSize: 2, buckets }, microStep: opByOp }),
			];
			const bound = process.env.TF_ENABLE_ONEDNN_OPTS === "0" ? 1e-6 : GRAPHS_DIFFER;
			expect(relative(graphs.loss, want.loss)).toBeLessThanOrEqual(bound);
			for (const [i, gradient] of want.gradients.entries()) {
				expect(relativeL2(await graphs.gradients[i]!.data(), await gradient!.data())).toBeLessThanOrEqual(bound);
			}
			disposeGradients([...graphs.gradients, ...want.gradients]);
		});

	it("has torch's losses, norms and parameters over three AdamW steps, and leaves no tensor behind", async () => {
		const before = memory().numTensors;
		for (let step = 0; step < 3; step++) {
			const { gradients, loss, gradNorm } = await forwardBackward(2);
			expect(relative(loss, reference.step_losses[step])).toBeLessThanOrEqual(1e-4);
			expect(relative(gradNorm, reference.step_grad_norms[step])).toBeLessThanOrEqual(1e-3);
			optimizer.step(gradients, { learningRate: 1e-3, gradientScale: clipFactor(gradNorm, 1) });
			disposeGradients(gradients);
			expect(memory().numTensors).toBe(before);
		}
		const after = await forwardBackward(2);
		disposeGradients(after.gradients);
		expect(relative(after.loss, reference.loss_after)).toBeLessThanOrEqual(1e-4);

		const train = await golden("train");
		const parameters = model.namedParameters();
		const compared = train.names.filter((name) => name.startsWith("after3."));
		expect(compared).toHaveLength(11);
		for (const name of compared) {
			const got = await parameters.get(name.slice("after3.".length))!.data();
			expect(relativeL2(got, train.float(name).data), name).toBeLessThanOrEqual(1e-3);
		}
		for (const [name, { l2 }] of Object.entries(reference.after3)) {
			const values = (await parameters.get(name)!.data()) as Float32Array;
			expect(relative(Math.hypot(...chunkNorms(values)), l2), name).toBeLessThanOrEqual(1e-3);
		}
	});
}

/** A tied embedding is used twice, at the input and as the head: its gradient is the sum of both. */
export function tiedGoldenSuite(backend: BackendName): void {
	it("has torch's loss (rel 1e-5) and embedding gradient (rel 1e-3) where embeddings are tied", async () => {
		const tied = await golden("tied");
		await using model = await loadModel(goldenPath("tiny-qwen2_5_vl-tied"), { backend, processorDir: goldenPath("tiny-qwen2_5_vl") });
		const optimizer = new AdamW(model.namedParameters(), ADAMW);
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets });
		const { gradients, loss } = await accumulateGradients(model, await examples(), { microTrainBatchSize: 2, microStep, buckets });
		expect(relative(loss, tied.float("loss").data[0])).toBeLessThanOrEqual(1e-5);
		const bucket = optimizer.buckets.findIndex(({ names }) => names.includes("model.embed_tokens.weight"));
		const parts = splitLike(gradients[bucket]!, optimizer.buckets[bucket].variables);
		const gradient = parts[optimizer.buckets[bucket].names.indexOf("model.embed_tokens.weight")];
		expect(relativeL2(await gradient.data(), tied.float("grad_embed_tokens").data)).toBeLessThanOrEqual(1e-3);
		for (const part of parts) part.dispose();
		disposeGradients(gradients);
		microStep.dispose();
		optimizer.dispose();
	});
}

/** L2 norms of pieces, in float64. */
function chunkNorms(values: Float32Array): number[] {
	const norms: number[] = [];
	for (let from = 0; from < values.length; from += 1024) norms.push(Math.hypot(...values.subarray(from, from + 1024)));
	return norms;
}
