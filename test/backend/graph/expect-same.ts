/** Two tensors that must be the same numbers but for the order of float32 additions. */
import { expect } from "vitest";
import type { Tensor } from "../../../src/backend/tf.js";

const RELATIVE = 1e-6;

/** Same shape and type; values within 1e-6 of the largest. */
export function expectSame(got: Tensor, expected: Tensor): void {
	expect(got.shape).toEqual(expected.shape);
	expect(got.dtype).toBe(expected.dtype);
	const [a, b] = [got.dataSync(), expected.dataSync()];
	let [worst, scale] = [0, 0];
	for (let i = 0; i < b.length; i++) {
		scale = Math.max(scale, Math.abs(b[i]));
		worst = Math.max(worst, Object.is(a[i], b[i]) ? 0 : Math.abs(a[i] - b[i]));
	}
	expect(worst, `values up to ${scale}`).toBeLessThanOrEqual(RELATIVE * scale);
}
