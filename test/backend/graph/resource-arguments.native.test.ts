/** Resource variables among the arguments: one graph serves all variables of a shape. */
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import { ResourceVariable } from "../../../src/backend/graph/resource-variable.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";
import { nativeMissing } from "../native-runtime.js";

describe.skipIf(nativeMissing)("resource variables as arguments", () => {
	beforeAll(() => selectBackend("native-cpu"));

	it.each([{}, { trace: true }])("share a graph, and each gets its own writes, with %j", (options) => {
		const place = (column: number) => [tf.tensor1d([0, column], "int32"), tf.tensor1d([0, column + 1], "int32")] as const;
		const append = compile(
			({ cache, at, value }: { cache: ResourceVariable; at: readonly [tf.Tensor1D, tf.Tensor1D]; value: tf.Tensor }) => {
				cache.assignSlice(at[0], at[1], value, [1]);
				return tf.sum(cache.read(), 0);
			},
			options,
		);
		const caches = [new ResourceVariable([2, 3]), new ResourceVariable([2, 3]), new ResourceVariable([2, 4])];
		for (const [i, cache] of caches.entries()) {
			for (let column = 0; column < 3; column++) {
				tf.tidy(() => append({ cache, at: place(column), value: tf.fill([2, 1], 10 * i + column) }));
			}
		}
		const sums = caches.map((cache) => tf.tidy(() => [...tf.sum(cache.read(), 0).dataSync()]));
		expect(sums).toEqual([
			[0, 2, 4],
			[20, 22, 24],
			[40, 42, 44, 0],
		]);
		expect(append.recordings).toBe(2); // one per shape
		for (const cache of caches) cache.dispose();
		expect(() => tf.tidy(() => append({ cache: caches[0], at: place(0), value: tf.zeros([2, 1]) }))).toThrow(/is disposed/);
		append.dispose();
	});
});
