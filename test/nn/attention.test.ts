import { beforeAll, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { grads, memory, mul, randomNormal, sum, type Tensor4D, tensor4d, tidy } from "../../src/backend/tf.js";
import { attention, MASKED } from "../../src/nn/attention.js";

const [B, H, K, T, S, D] = [2, 4, 2, 5, 7, 3];

/** softmax(q kᵀ / √D + mask) v by plain loops: head h reads key head ⌊h / (H / K)⌋. */
function plain(q: number[][][][], k: number[][][][], v: number[][][][], allowed: (t: number, s: number) => boolean): number[] {
	const out: number[] = [];
	for (let b = 0; b < B; b++) {
		for (let h = 0; h < H; h++) {
			const kv = Math.floor(h / (H / K));
			for (let t = 0; t < T; t++) {
				const weights = Array.from({ length: S }, (_, s) => {
					const dot = q[b][h][t].reduce((total, x, d) => total + x * k[b][kv][s][d], 0);
					return allowed(t, s) ? Math.exp(dot / Math.sqrt(D)) : 0;
				});
				const total = weights.reduce((a, w) => a + w, 0);
				for (let d = 0; d < D; d++) out.push(weights.reduce((sum, w, s) => sum + (w / total) * v[b][kv][s][d], 0));
			}
		}
	}
	return out;
}

describe("attention", () => {
	beforeAll(() => selectBackend("cpu"));
	const inputs = () =>
		[
			randomNormal([B, H, T, D], 0, 1, "float32", 1),
			randomNormal([B, K, S, D], 0, 1, "float32", 2),
			randomNormal([B, K, S, D], 0, 1, "float32", 3),
		] as Tensor4D[];
	const allowed = (t: number, s: number) => s <= t + 2;

	function causal() {
		return tensor4d(
			Array.from({ length: T * S }, (_, i) => (allowed(Math.floor(i / S), i % S) ? 0 : MASKED)),
			[1, 1, T, S],
		);
	}

	it.each([
		["at once", 2 ** 26],
		["two queries at a time", B * H * S * 2],
		["one query at a time", 1],
	])("is grouped-query attention: %s", async (_, maxScores) => {
		const mask = causal();
		const [q, k, v] = inputs();
		const before = memory().numTensors;
		const out = tidy(() => attention(q, k, v, mask, maxScores));
		expect(memory().numTensors).toBe(before + 1);
		const want = plain(q.arraySync(), k.arraySync(), v.arraySync(), allowed);
		expect(out.shape).toEqual([B, H, T, D]);
		for (const [i, got] of (await out.data()).entries()) expect(got).toBeCloseTo(want[i], 5);
		for (const tensor of [mask, q, k, v, out]) tensor.dispose();
	});

	it("has the same gradients in blocks", async () => {
		const mask = causal();
		const tensors = inputs();
		const weight = randomNormal([B, H, T, D], 0, 1, "float32", 4);
		const gradients = (maxScores: number) =>
			grads((q, k, v) => sum(mul(attention(q as Tensor4D, k as Tensor4D, v as Tensor4D, mask, maxScores), weight)))(tensors);
		const [whole, blocks] = [gradients(2 ** 26), gradients(B * H * S * 2)];
		for (const [i, gradient] of whole.entries()) {
			const want = await gradient.data();
			for (const [j, got] of (await blocks[i].data()).entries()) expect(got).toBeCloseTo(want[j], 5);
		}
	});
});
