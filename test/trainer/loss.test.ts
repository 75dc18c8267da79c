import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { selectBackend } from "../../src/backend/select-backend.js";
import {
	grads,
	matMul,
	memory,
	type Scalar,
	sum,
	type Tensor,
	type Tensor2D,
	tensor1d,
	tensor2d,
	tidy,
	type Variable,
	variable,
} from "../../src/backend/tf.js";
import { headGradients, sumCrossEntropy } from "../../src/trainer/loss.js";

const LOGITS = [
	[1, -2, 0.5],
	[1000, 999, -1000], // exp(1000) overflows: the maximum has to come off first
	[0, 0, 0],
];
const TARGETS = [2, 1, 0];
const WEIGHTS = [1, 0.25, 2];

const softmax = (row: number[]) => {
	const exps = row.map((x) => Math.exp(x - Math.max(...row)));
	return exps.map((e) => e / exps.reduce((a, b) => a + b));
};
// log softmax, not log of softmax: row 1's smallest probability underflows
const expected = -LOGITS.reduce((total, row, i) => {
	const most = Math.max(...row);
	return total + WEIGHTS[i] * (row[TARGETS[i]] - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)));
}, 0);

describe.each(["cpu", "wasm"] as const)("sumCrossEntropy on %s", (backend) => {
	let logits: Tensor2D;
	afterAll(() => logits?.dispose());

	it("is the closed form, and weight · (softmax − onehot) its gradient, scaled by what comes from above", async () => {
		await selectBackend(backend);
		logits = tensor2d(LOGITS);
		const [loss, gradient] = tidy(() => {
			const ofRows = (x: Tensor2D) => sumCrossEntropy(x, tensor1d(TARGETS, "int32"), tensor1d(WEIGHTS));
			return [ofRows(logits), grads((x) => ofRows(x as Tensor2D).mul(3) as Scalar)([logits])[0]];
		});
		expect((await loss.data())[0]).toBeCloseTo(expected, 4);
		const want = LOGITS.flatMap((row, i) => softmax(row).map((p, v) => 3 * WEIGHTS[i] * (p - (v === TARGETS[i] ? 1 : 0))));
		(await gradient.data()).forEach((value, i) => {
			expect(value).toBeCloseTo(want[i], 5);
		});
		loss.dispose();
		gradient.dispose();
	});

	it("refuses another number of targets than rows", () => {
		const call = () => sumCrossEntropy(logits, tensor1d([1], "int32"), tensor1d([1]));
		tidy(() => void expect(call).toThrow(/3 rows of logits but 1 targets/));
	});
});

const smoothed = z
	.object({
		logits: z.array(z.array(z.array(z.number()))),
		labels: z.array(z.array(z.int())),
		cases: z.array(z.object({ epsilon: z.number(), loss: z.number(), gradient: z.array(z.array(z.array(z.number()))) })),
	})
	.parse(JSON.parse(readFileSync(new URL("../fixtures/label-smoothing.json", import.meta.url), "utf8")));

describe.each(["cpu", "wasm"] as const)("label smoothing on %s", (backend) => {
	it.each(smoothed.cases)("is transformers' LabelSmoother with $epsilon, loss and gradient", async ({ epsilon, loss, gradient }) => {
		await selectBackend(backend);
		// The logits before a label predict it; transformers shifts inside.
		const places = smoothed.labels.flatMap((row, b) => row.flatMap((label, t) => (t > 0 && label >= 0 ? [{ b, t: t - 1, label }] : [])));
		const logits = tensor2d(places.map(({ b, t }) => smoothed.logits[b][t]));
		const [value, ofLogits] = tidy(() => {
			const targets = tensor1d(
				places.map(({ label }) => label),
				"int32",
			);
			const weights = tensor1d(places.map(() => 1 / places.length));
			const of = (x: Tensor2D) => sumCrossEntropy(x, targets, weights, epsilon);
			return [of(logits), grads((x) => of(x as Tensor2D))([logits])[0]];
		});
		expect((await value.data())[0]).toBeCloseTo(loss, 5);
		const want = places.flatMap(({ b, t }) => gradient[b][t]);
		(await ofLogits.data()).forEach((x, i) => {
			expect(x).toBeCloseTo(want[i], 6);
		});
		for (const t of [logits, value, ofLogits]) t.dispose();
	});
});

describe.each(["cpu", "wasm"] as const)("headGradients on %s", (backend) => {
	const wave = (n: number, phase: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + phase));
	let weight: Variable;
	let unused: Variable;
	beforeAll(async () => {
		await selectBackend(backend);
		[weight, unused] = tidy(() => [variable(tensor2d(wave(20, 1), [5, 4])), variable(tensor2d([[1]]))]);
	});
	afterAll(() => {
		weight.dispose();
		unused.dispose();
	});
	const rows = () => tensor2d(wave(28, 2), [7, 4]);
	const targets = () => tensor1d([0, 1, 2, 3, 4, 0, 1], "int32");
	const weights = () => tensor1d([1, 0.5, 0, 1, 2, 1, 1]);
	const head = (x: Tensor2D): Tensor2D => matMul(x, weight as Tensor2D & Variable, false, true);

	it.each([7, 4, 3, 1])("is the gradient of the unchunked loss, %i rows at a time, and leaves nothing behind", (chunkRows) => {
		const before = memory().numTensors;
		tidy(() => {
			const chunked = headGradients(head, rows(), targets(), weights(), [unused, weight], { chunkRows });
			const whole = (x: Tensor2D, w: Tensor2D) => sumCrossEntropy(matMul(x, w, false, true), targets(), weights());
			const plain = tensor2d(wave(20, 1), [5, 4]);
			const [ofRows, ofWeight] = grads((x, w) => whole(x as Tensor2D, w as Tensor2D))([rows(), plain]);
			expect(chunked.variables[0]).toBeUndefined();
			for (const [got, want] of [
				[chunked.loss, whole(rows(), plain)],
				[chunked.rows, ofRows],
				[chunked.variables[1] as Tensor, ofWeight],
			]) {
				expect(got.shape).toEqual(want.shape);
				got.dataSync().forEach((value, i) => {
					expect(value).toBeCloseTo(want.dataSync()[i], 5);
				});
			}
		});
		expect(memory().numTensors).toBe(before);
	});

	it("leaves an outer tape alone", () => {
		tidy(() => {
			const x = rows();
			const [gradient] = grads((x) => {
				const doubled = x.mul(2);
				const taken = headGradients(head, doubled as Tensor2D, targets(), weights(), [weight], { chunkRows: 3 });
				return sum(doubled.mul(taken.rows.onesLike())) as Scalar;
			})([x]);
			expect([...gradient.dataSync()]).toEqual(new Array(28).fill(2));
		});
	});
});
