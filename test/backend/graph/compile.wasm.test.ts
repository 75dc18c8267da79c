/** On a backend without graphs a compiled function is the function, with the same rules about who owns the result. */
import { beforeAll, expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";

beforeAll(() => selectBackend("wasm"));

it("calls the function each time and says why", async () => {
	let calls = 0;
	const fn = compile((x: tf.Tensor, by: number) => {
		calls++;
		tf.square(x);
		return [tf.mul(x, by), x];
	});
	expect(fn.mode).toBe("eager");
	expect(fn.modeReason).toMatch(/"wasm" has no graphs/);
	const x = tf.tensor1d([1, 2]);
	const { numTensors } = tf.memory();
	for (const results of [fn(x, 3), await fn.runAsync([x, 3])]) {
		expect(results.map((tensor) => [...tensor.dataSync()])).toEqual([
			[3, 6],
			[1, 2],
		]);
		expect(results[1]).not.toBe(x);
		tf.dispose(results);
	}
	expect([calls, fn.calls, fn.eagerCalls, fn.signatures]).toEqual([2, 2, 2, 0]);
	expect(tf.memory().numTensors).toBe(numTensors);
	x.dispose();
});
