/** What a captured function keeps of its JavaScript: variables, optimizers, structures, signatures; and that nothing is left behind. */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Compiled, compile } from "../../../src/backend/graph/compile.js";
import { currentNativeBackend, type NativeBackend } from "../../../src/backend/native-binding.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";
import { nativeMissing } from "../native-runtime.js";
import { expectSame } from "./expect-same.js";

let native: NativeBackend;
const open: { dispose(): void }[] = [];
const disposedAfter = <T extends { dispose(): void }>(thing: T): T => {
	open.push(thing);
	return thing;
};
const counts = () => ({ tensors: tf.memory().numTensors, handles: native.binding.getNumOfTensors() });

describe.skipIf(nativeMissing)("compile", () => {
	beforeAll(async () => {
		await selectBackend("native-cpu");
		native = currentNativeBackend() as NativeBackend;
	});
	afterEach(() => {
		for (const thing of open.splice(0)) thing.dispose();
	});

	it("runs later calls of a signature without calling the function", () => {
		let calls = 0;
		const double = disposedAfter(
			compile((x: tf.Tensor) => {
				calls++;
				return tf.mul(x, 2);
			}),
		);
		const results = [1, 2, 3].map((value) => tf.tidy(() => double(tf.scalar(value)).dataSync()[0]));
		expect(results).toEqual([2, 4, 6]);
		expect(calls).toBe(1);
		expect([double.mode, double.signatures]).toEqual(["graph", 1]);
		expect(double.modeReason).toMatch(/TensorFlow function/);
	});

	it("takes and gives back arrays and records; each shape, type and plain value is a signature", () => {
		let calls = 0;
		const fn = disposedAfter(
			compile(({ x, parts }: { x: tf.Tensor; parts: tf.Tensor[] }, scale: number, mode?: string) => {
				calls++;
				const y = tf.mul(x, scale);
				return { y, list: [mode === "neg" ? tf.neg(parts[0]) : parts[0], x], nested: { sum: tf.addN(parts) } };
			}),
		);
		const call = (shape: number[], scale: number, mode?: string) =>
			tf.tidy(() => {
				const of = (value: number) => tf.fill(shape, value);
				const { y, list, nested } = fn({ x: of(3), parts: [of(4), of(5)] }, scale, mode);
				return [y, ...list, nested.sum].map((tensor) => tensor.dataSync()[0]);
			});
		for (let i = 0; i < 2; i++) {
			expect(call([2], 10)).toEqual([30, 4, 3, 9]);
			expect(call([2], 20)).toEqual([60, 4, 3, 9]);
			expect(call([2, 2], 10, "neg")).toEqual([30, -4, 3, 9]);
		}
		expect([calls, fn.signatures]).toEqual([3, 3]);
	});

	it("keeps two arguments apart that are the same tensor at the recorded call", () => {
		const sub = disposedAfter(compile((a: tf.Tensor, b: tf.Tensor) => tf.sub(a, b)));
		tf.tidy(() => {
			const [one, five] = [tf.scalar(1), tf.scalar(5)];
			expect(sub(one, one).dataSync()[0]).toBe(0);
			expect(sub(five, one).dataSync()[0]).toBe(4);
		});
	});

	it("reads variables at each call, also those whose values were not uploaded at the recorded one", () => {
		const w = disposedAfter(tf.variable(tf.tensor1d([1, 2])));
		const fn = disposedAfter(compile((x: tf.Tensor) => tf.mul(x, w)));
		tf.tidy(() => {
			expect([...fn(tf.scalar(10)).dataSync()]).toEqual([10, 20]);
			w.assign(tf.tensor1d([3, 4]));
			expect([...fn(tf.scalar(10)).dataSync()]).toEqual([30, 40]);
			w.assign(tf.add(w, 1));
			expect([...fn(tf.scalar(10)).dataSync()]).toEqual([40, 50]);
		});
	});

	it("assigns variables at each call, in the order of the code", () => {
		const [counter, shadow] = [tf.variable(tf.scalar(0)), tf.variable(tf.scalar(0))].map(disposedAfter);
		const step = disposedAfter(
			compile((by: tf.Tensor) => {
				const before = counter.clone();
				counter.assign(tf.add(counter, by) as tf.Scalar);
				shadow.assign(tf.mul(counter, 100) as tf.Scalar);
				return [before, counter];
			}),
		);
		const seen = [1, 2, 3].map((by) => tf.tidy(() => step(tf.scalar(by)).map((tensor) => tensor.dataSync()[0])));
		expect(seen).toEqual([
			[0, 1],
			[1, 3],
			[3, 6],
		]);
		expect([counter.dataSync()[0], shadow.dataSync()[0]]).toEqual([6, 600]);
	});

	it("treats a variable given as an argument as the variable, not as its value", () => {
		const [a, b] = [tf.variable(tf.scalar(1)), tf.variable(tf.scalar(10))].map(disposedAfter);
		const increment = disposedAfter(compile((v: tf.Variable) => v.assign(tf.add(v, 1))));
		for (const v of [a, b, a, b, a]) increment(v);
		expect([a.dataSync()[0], b.dataSync()[0]]).toEqual([4, 12]);
		expect(increment.signatures).toBe(2);
	});

	it.each([
		["sgd", () => tf.train.sgd(0.1)],
		["momentum", () => tf.train.momentum(0.1, 0.9)],
		["adam", () => tf.train.adam(0.1)],
	] as const)("captures a whole training step with %s, its state made on the first call", (_, optimizerOf) => {
		const losses = [
			(step: (x: tf.Tensor2D) => tf.Scalar) => disposedAfter(compile(step)),
			(step: (x: tf.Tensor2D) => tf.Scalar) => step,
		].map((wrap) => {
			const w = disposedAfter(tf.variable(tf.tensor2d([0.5, -0.25, 0.75, 1], [2, 2])));
			const optimizer = disposedAfter(optimizerOf());
			const step = wrap((x) => {
				const loss = () => tf.mean(tf.square(tf.sub(tf.matMul(x, w), 1))) as tf.Scalar;
				return optimizer.minimize(loss, true, [w]) as tf.Scalar;
			});
			const values = Array.from({ length: 8 }, (_, i) => tf.tidy(() => step(tf.tensor2d([1, i % 3, 0.5, -1], [2, 2])).dataSync()[0]));
			return [...values, ...w.dataSync()];
		});
		tf.tidy(() => expectSame(tf.tensor1d(losses[0]), tf.tensor1d(losses[1])));
		expect(losses[0][7]).toBeLessThan(losses[0][1]);
	});

	it("can be differentiated and nested: it is a plain call there", () => {
		const square = disposedAfter(compile((x: tf.Tensor) => tf.square(x)));
		const outer = disposedAfter(compile((x: tf.Tensor) => tf.add(square(x), 1)));
		tf.tidy(() => {
			for (const x of [3, 4, 5]) {
				expect(square(tf.scalar(x)).dataSync()[0]).toBe(x * x);
				expect(
					tf
						.grad((y) => square(y))(tf.scalar(x))
						.dataSync()[0],
				).toBe(2 * x);
				expect(outer(tf.scalar(x)).dataSync()[0]).toBe(x * x + 1);
			}
		});
	});

	it("writes zeros as Fill and keeps other large constants on the device until disposed", () => {
		const values = Float32Array.from({ length: 20_000 }, (_, i) => i);
		const before = counts();
		const zeros = compile((x: tf.Tensor) => tf.add(x, tf.zeros([100, 200])));
		const table = compile((x: tf.Tensor) => tf.add(x, tf.tensor2d(values, [100, 200])));
		for (let i = 0; i < 3; i++) {
			tf.tidy(() => {
				expect(zeros(tf.scalar(i)).dataSync()[19_999]).toBe(i);
				expect(table(tf.scalar(i)).dataSync()[19_999]).toBe(19_999 + i);
			});
		}
		expect(counts()).toEqual({ ...before, handles: before.handles + 1 });
		zeros.dispose();
		table.dispose();
		expect(counts()).toEqual(before);
	});

	it("gives arguments, closed-over tensors and large constants to the inputs that they are", () => {
		const w = disposedAfter(tf.variable(tf.scalar(2)));
		const table = Float32Array.from({ length: 20_000 }, (_, i) => i);
		const fn = disposedAfter(
			compile((x: tf.Tensor, y: tf.Tensor) =>
				tf.sub(tf.mul(tf.add(tf.tensor1d(table), x), w), tf.mul(y, tf.tensor1d(table.map((v) => -v)))),
			),
		);
		for (let i = 0; i < 2; i++) {
			// (19,999 + 1) · 2 + 3 · 19,999
			expect(tf.tidy(() => fn(tf.scalar(1), tf.scalar(3)).dataSync())[19_999]).toBe(99_997);
		}
	});

	it("drops the graph not used for the longest time", () => {
		const fn = disposedAfter(compile((x: tf.Tensor) => tf.neg(x), { maxSignatures: 2, name: "neg" }));
		const call = (size: number) => tf.tidy(() => void fn(tf.zeros([size])));
		for (const size of [1, 2, 1, 3, 1]) call(size);
		expect([fn.signatures, fn.recordings]).toEqual([2, 3]);
		call(2);
		expect([fn.signatures, fn.recordings]).toEqual([2, 4]);
	});

	it("records a signature after its eager calls, and counts", () => {
		let calls = 0;
		const fn = disposedAfter(
			compile(
				(x: tf.Tensor) => {
					calls++;
					return tf.mul(x, 2);
				},
				{ eagerCalls: 2, maxSignatures: 1 },
			),
		);
		const call = (size: number) => tf.tidy(() => fn(tf.fill([size], 3)).dataSync()[0]);
		expect([1, 2, 1, 1, 1, 1].map(call)).toEqual([6, 6, 6, 6, 6, 6]);
		expect([calls, fn.calls, fn.eagerCalls, fn.recordings, fn.signatures]).toEqual([4, 6, 3, 1, 1]);
		// Sixteen rare signatures are remembered for each graph: 2 is forgotten.
		for (let size = 3; size < 19; size++) call(size);
		for (const size of [2, 2]) call(size);
		expect(fn.recordings).toBe(1);
		call(2);
		expect([fn.recordings, fn.signatures]).toEqual([2, 1]);
		expect(() => compile(() => undefined, { eagerCalls: -1 })).toThrow(/eagerCalls is -1; expected 0 or more/);
	});

	it("leaves nothing behind in 1,000 calls", () => {
		const w = disposedAfter(tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2])));
		const optimizer = disposedAfter(tf.train.adam(0.01));
		const step = disposedAfter(
			compile(
				(x: tf.Tensor2D, scale: number) => {
					const { value, grads } = tf.variableGrads(() => tf.sum(tf.square(tf.matMul(x, w))).mul(scale) as tf.Scalar, [w]);
					optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
					return { value, grads };
				},
				{ maxSignatures: 3 },
			),
		);
		// Six signatures in a cache of three: graphs are made and dropped on the way.
		const call = (i: number) => tf.tidy(() => void step(tf.ones([1 + (i % 2), 2]), i < 990 ? 1 : 1 + (i % 3)));
		for (let i = 0; i < 4; i++) call(i);
		const before = counts();
		for (let i = 0; i < 1000; i++) call(i);
		expect(counts()).toEqual(before);
		expect(step.signatures).toBe(3);
	});

	it("names TensorFlow's reason when a graph fails", () => {
		const fn = disposedAfter(compile((x: tf.Tensor, i: tf.Tensor) => tf.gather(x, i as tf.Tensor1D), { name: "pick" }));
		tf.tidy(() => {
			fn(tf.tensor1d([1, 2]), tf.tensor1d([0], "int32"));
			expect(() => fn(tf.tensor1d([1, 2]), tf.tensor1d([7], "int32"))).toThrow(/indices\[0\] = 7 is not in \[0, 2\)/);
		});
	});

	describe("runAsync", () => {
		it("gives the same as a call, one after the other, and leaves nothing behind", async () => {
			const total = disposedAfter(tf.variable(tf.scalar(0)));
			const step = disposedAfter(
				compile((x: tf.Tensor) => {
					total.assign(tf.add(tf.mul(total, 2), x) as tf.Scalar);
					return tf.square(total);
				}),
			);
			tf.tidy(() => void step(tf.scalar(0)));
			const before = counts();
			const inputs = [1, 2, 3, 4].map((value) => tf.scalar(value));
			const results = await Promise.all(inputs.map((x) => step.runAsync([x])));
			expect(results.map((tensor) => tensor.dataSync()[0])).toEqual([1, 16, 121, 676]);
			tf.dispose([inputs, results]);
			expect(counts()).toEqual(before);
		});

		it("leaves the event loop free", async () => {
			const heavy: Compiled<[tf.Tensor2D], tf.Tensor> = disposedAfter(
				compile((x) => {
					let y: tf.Tensor2D = x;
					for (let i = 0; i < 8; i++) y = tf.div(tf.matMul(y, x), 1024);
					return tf.sum(y);
				}),
			);
			const x = disposedAfter(tf.ones([1024, 1024]) as tf.Tensor2D);
			heavy(x).dispose();
			heavy(x).dispose();
			let turns = 0;
			const timer = setInterval(() => turns++, 1);
			const result = disposedAfter(await heavy.runAsync([x]));
			clearInterval(timer);
			expect(turns).toBeGreaterThan(3);
			expect(result.dataSync()[0]).toBeCloseTo(1024 * 1024, -2);
		});

		it("does not start what was cancelled, and goes on after an error", async () => {
			const fn = disposedAfter(compile((x: tf.Tensor, i: tf.Tensor) => tf.gather(x, i as tf.Tensor1D)));
			const x = disposedAfter(tf.tensor1d([1, 2]));
			const [good, bad] = [disposedAfter(tf.tensor1d([1], "int32")), disposedAfter(tf.tensor1d([7], "int32"))];
			disposedAfter(fn(x, good));
			const stop = new AbortController();
			const calls = [fn.runAsync([x, bad]), fn.runAsync([x, good], { signal: stop.signal }), fn.runAsync([x, good])];
			stop.abort(new Error("enough"));
			const outcomes = await Promise.allSettled(calls);
			expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
			expect((outcomes[0] as PromiseRejectedResult).reason.message).toMatch(/is not in \[0, 2\)/);
			expect((outcomes[1] as PromiseRejectedResult).reason.message).toBe("enough");
			disposedAfter((outcomes[2] as PromiseFulfilledResult<tf.Tensor>).value);
		});
	});
});
