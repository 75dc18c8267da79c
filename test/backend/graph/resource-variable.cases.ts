/** What a resource variable does on every backend: the same tests run natively and on wasm. */
import { expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import { ResourceVariable } from "../../../src/backend/graph/resource-variable.js";
import * as tf from "../../../src/backend/tf.js";

const int32 = (...values: number[]) => tf.tensor1d(values, "int32");
const next = (at: tf.Tensor1D) => tf.add(at, tf.scalar(1, "int32")) as tf.Tensor1D;
const valuesOf = (variable: ResourceVariable) => tf.tidy(() => [...variable.read().dataSync()]);

export function resourceVariableCases(): void {
	it("starts as zeros of its shape and type, or as a copy of a tensor", () => {
		const zeros = new ResourceVariable([2, 3], "int32");
		tf.tidy(() => {
			const read = zeros.read();
			expect([read.shape, read.dtype, [...read.dataSync()]]).toEqual([[2, 3], "int32", [0, 0, 0, 0, 0, 0]]);
		});
		const host = Float32Array.from({ length: 64 }, (_, i) => i);
		const initial = tf.tensor1d(host);
		const copy = new ResourceVariable(initial);
		initial.dispose();
		tf.tidy(() => copy.assignSlice(int32(3), int32(5), tf.tensor1d([-1, -2])));
		expect([...host.slice(0, 6)]).toEqual([0, 1, 2, 3, 4, 5]);
		expect(valuesOf(copy).slice(0, 6)).toEqual([0, 1, 2, -1, -2, 5]);
		zeros.dispose();
		copy.dispose();
	});

	it("writes a box at any place; axes left out are taken whole", () => {
		const variable = new ResourceVariable([2, 3, 4]);
		const plain = new Float32Array(24);
		const put = (from: number[], to: number[], start: number) => {
			for (let [n, i] = [start, 0]; i < 24; i++) {
				const at = [Math.floor(i / 12), Math.floor(i / 4) % 3, i % 4];
				if (at.every((place, axis) => place >= from[axis] && place < to[axis])) plain[i] = n++;
			}
		};
		const write = (from: number[], to: number[], start: number, axes?: number[]) => {
			const shape = from.map((first, axis) => (!axes || axes.includes(axis) ? to[axis] - first : variable.shape[axis]));
			const count = shape.reduce((a, b) => a * b);
			tf.tidy(() => variable.assignSlice(int32(...from), int32(...to), tf.range(start, start + count).reshape(shape), axes));
		};
		write([0, 1, 1], [2, 2, 3], 1);
		put([0, 1, 1], [2, 2, 3], 1);
		write([9, 2, -5], [7, 3, 0], 100, [1]);
		put([0, 2, 0], [2, 3, 4], 100);
		write([1, 0, 3], [2, 3, 4], 50, [0, 1, 2]);
		put([1, 0, 3], [2, 3, 4], 50);
		expect(valuesOf(variable)).toEqual([...plain]);
		variable.dispose();
	});

	it("leaves what was read before a write as it was", () => {
		const variable = new ResourceVariable([3]);
		tf.tidy(() => {
			const before = variable.read();
			variable.assignSlice(int32(1), int32(2), tf.tensor1d([7]));
			const between = variable.read();
			variable.assign(tf.tensor1d([1, 2, 3]));
			expect([before, between, variable.read()].map((read) => [...read.dataSync()])).toEqual([
				[0, 0, 0],
				[0, 7, 0],
				[1, 2, 3],
			]);
		});
		variable.dispose();
	});

	it("is not changed by later writes to what was assigned", () => {
		const [a, b] = [new ResourceVariable([2]), new ResourceVariable([2])];
		tf.tidy(() => {
			a.assign(tf.tensor1d([1, 2]));
			b.assign(a.read());
		});
		tf.tidy(() => b.assignSlice(int32(0), int32(1), tf.tensor1d([9])));
		expect([valuesOf(a), valuesOf(b)]).toEqual([
			[1, 2],
			[9, 2],
		]);
		a.dispose();
		b.dispose();
	});

	it("is as in eager code inside a compiled function, at changing positions", () => {
		const make = () => [new ResourceVariable([2, 8, 3]), new ResourceVariable([2, 8, 3])] as const;
		const stepOn =
			([keys, values]: ReturnType<typeof make>) =>
			(position: tf.Tensor1D, x: tf.Tensor) => {
				const [begin, end] = [tf.mul(position, int32(0, 1, 0)), tf.mul(next(position), int32(0, 1, 0))] as tf.Tensor1D[];
				keys.assignSlice(begin, end, x, [1]);
				values.assignSlice(begin, end, tf.mul(x, 2), [1]);
				return tf.matMul(tf.matMul(x, keys.read(), false, true), values.read());
			};
		const [eager, captured] = [make(), make()];
		const [eagerStep, step] = [stepOn(eager), compile(stepOn(captured))];
		for (let i = 0; i < 20; i++) {
			tf.tidy(() => {
				const x = tf.sin(tf.range(i, i + 6)).reshape([2, 1, 3]);
				const position = int32((i * 3) % 8);
				expect([...step(position, x).dataSync()]).toEqual([...eagerStep(position, x).dataSync()]);
			});
		}
		for (const i of [0, 1]) expect(valuesOf(captured[i])).toEqual(valuesOf(eager[i]));
		for (const variable of [...eager, ...captured]) variable.dispose();
		step.dispose();
	});

	it("keeps the order of reads and writes in a compiled function", () => {
		const variable = new ResourceVariable([1]);
		const fn = compile((x: tf.Tensor1D) => {
			const reads = [variable.read()];
			variable.assign(tf.mul(variable.read(), 2));
			reads.push(variable.read());
			variable.assignSlice(int32(0), int32(1), tf.add(variable.read(), x));
			reads.push(variable.read());
			return reads;
		});
		const seen = [1, 2, 3].map((x) => tf.tidy(() => fn(tf.tensor1d([x])).map((read) => read.dataSync()[0])));
		expect(seen).toEqual([
			[0, 0, 1],
			[1, 2, 4],
			[4, 8, 11],
		]);
		fn.dispose();
		variable.dispose();
	});

	it("is written by a function without results, and shared by two functions", () => {
		const variable = new ResourceVariable([4]);
		const write = compile((at: tf.Tensor1D, x: tf.Tensor) => variable.assignSlice(at, next(at), x));
		const total = compile(() => tf.sum(variable.read()));
		const { numTensors } = tf.memory();
		const totals = [0, 1, 2, 3].map((i) => {
			tf.tidy(() => write(int32(i), tf.tensor1d([10 ** i])));
			return tf.tidy(() => total().dataSync()[0]);
		});
		expect(totals).toEqual([1, 11, 111, 1111]);
		expect(valuesOf(variable)).toEqual([1, 10, 100, 1000]);
		expect(tf.memory().numTensors).toBe(numTensors);
		for (const thing of [write, total, variable]) thing.dispose();
	});

	it("is an argument: one graph serves all variables of a shape, and knows one given twice from two", () => {
		const variables = [1, 2, 3].map(() => new ResourceVariable([2]));
		const [a, b, c] = variables;
		const larger = new ResourceVariable([3]);
		let calls = 0;
		const move = compile(({ from }: { from: ResourceVariable }, to: ResourceVariable, by: tf.Tensor) => {
			calls++;
			to.assign(tf.add(from.read(), by));
			from.assign(tf.mul(to.read(), 10));
			return tf.sum(from.read());
		});
		const call = (from: ResourceVariable, to: ResourceVariable, by: number) =>
			tf.tidy(() => move({ from }, to, tf.scalar(by)).dataSync()[0]);
		expect([call(a, b, 1), call(b, c, 2), call(c, a, 3), call(a, a, 1), call(b, b, 1)]).toEqual([20, 60, 120, 140, 620]);
		expect(variables.map(valuesOf)).toEqual([
			[70, 70],
			[310, 310],
			[60, 60],
		]);
		expect(call(larger, larger, 1)).toBe(30);
		if (move.mode === "graph") expect([calls, move.signatures]).toEqual([3, 3]);
		c.dispose();
		expect(() => call(a, c, 1)).toThrow(/of shape \[2\] is disposed/);
		for (const thing of [move, a, b, larger]) thing.dispose();
	});

	it("says what is wrong with a value or a place", () => {
		const variable = new ResourceVariable([2, 2]);
		tf.tidy(() => {
			const at = int32(0, 0);
			expect(() => variable.assign(tf.zeros([4]))).toThrow(/assign: the value has shape \[4\]; expected \[2,2\]/);
			expect(() => variable.assign(tf.zeros([2, 2], "int32"))).toThrow(/the value is int32; expected float32/);
			expect(() => variable.assignSlice(tf.tensor1d([0, 0]), at, tf.zeros([1, 1]))).toThrow(/begin is float32 \[2\]; expected int32 \[2\]/);
			expect(() => variable.assignSlice(at, int32(1), tf.zeros([1, 1]))).toThrow(/end is int32 \[1\]; expected int32 \[2\]/);
			expect(() => variable.assignSlice(int32(1, 0), int32(3, 2), tf.zeros([2, 2]))).toThrow(/shape/);
		});
		expect(valuesOf(variable)).toEqual([0, 0, 0, 0]);
		variable.dispose();
		variable.dispose();
		expect(variable.isDisposed).toBe(true);
		expect(() => variable.read()).toThrow(/of shape \[2,2\] is disposed; make a new one/);
	});

	it("leaves nothing behind", () => {
		const { numTensors } = tf.memory();
		let variable!: ResourceVariable;
		tf.tidy(() => {
			variable = new ResourceVariable([2, 2]);
		});
		const held = tf.memory().numTensors;
		for (let i = 0; i < 20; i++) {
			tf.tidy(() => variable.assignSlice(int32(0, i % 2), int32(2, (i % 2) + 1), tf.fill([2, 1], i)));
			tf.tidy(() => variable.assign(tf.add(variable.read(), 1)));
		}
		expect(tf.memory().numTensors).toBe(held);
		variable.dispose();
		expect(tf.memory().numTensors).toBe(numTensors);
	});
}
