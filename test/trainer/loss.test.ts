import { afterAll, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { grad, type Scalar, type Tensor2D, tensor2d } from "../../src/backend/tf.js";
import { sumCrossEntropy } from "../../src/trainer/loss.js";

const LOGITS = [
	[1, -2, 0.5],
	[1000, 999, -1000], // exp(1000) overflows: the maximum has to come off first
	[0, 0, 0],
];
const TARGETS = Int32Array.of(2, 1, 0);

const softmax = (row: number[]) => {
	const exps = row.map((x) => Math.exp(x - Math.max(...row)));
	return exps.map((e) => e / exps.reduce((a, b) => a + b));
};
// log softmax, not log of softmax: row 1's smallest probability underflows
const expected = -LOGITS.reduce((total, row, i) => {
	const most = Math.max(...row);
	return total + row[TARGETS[i]] - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
}, 0);

describe.each(["cpu", "wasm"] as const)("sumCrossEntropy on %s", (backend) => {
	let logits: Tensor2D;
	afterAll(() => logits?.dispose());

	it("is the closed form, and softmax − onehot its gradient, scaled by what comes from above", async () => {
		await selectBackend(backend);
		logits = tensor2d(LOGITS);
		const loss = sumCrossEntropy(logits, TARGETS);
		expect((await loss.data())[0]).toBeCloseTo(expected, 4);
		const gradient = grad((x) => sumCrossEntropy(x as Tensor2D, TARGETS).mul(3) as Scalar)(logits);
		const want = LOGITS.flatMap((row, i) => softmax(row).map((p, v) => 3 * (p - (v === TARGETS[i] ? 1 : 0))));
		(await gradient.data()).forEach((value, i) => {
			expect(value).toBeCloseTo(want[i], 5);
		});
		loss.dispose();
		gradient.dispose();
	});

	it("refuses another number of targets than rows", () => {
		expect(() => sumCrossEntropy(logits, Int32Array.of(1))).toThrow(/3 rows of logits but 1 targets/);
	});
});
