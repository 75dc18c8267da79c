/** Resource variables of the device: the same results, written in place, nothing left behind. */
import { beforeAll, describe, expect, it } from "vitest";
import { CaptureError, compile } from "../../../src/backend/graph/compile.js";
import { ResourceVariable } from "../../../src/backend/graph/resource-variable.js";
import { currentNativeBackend, type NativeBackend } from "../../../src/backend/native-binding.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";
import { nativeMissing } from "../native-runtime.js";
import { resourceVariableCases } from "./resource-variable.cases.js";

const MEBIBYTE = 1024 * 1024;
let native: NativeBackend;
const next = (at: tf.Tensor1D) => tf.add(at, tf.scalar(1, "int32")) as tf.Tensor1D;
const counts = () => ({ tensors: tf.memory().numTensors, handles: native.binding.getNumOfTensors() });

describe.skipIf(nativeMissing)("resource variable, native", () => {
	beforeAll(async () => {
		await selectBackend("native-cpu");
		native = currentNativeBackend() as NativeBackend;
	});

	resourceVariableCases();

	it("is written in place by a compiled function: no copy of the buffer per call", () => {
		const variable = new ResourceVariable([64, MEBIBYTE]); // 256 MiB: a copy takes tens of milliseconds
		const write = compile((at: tf.Tensor1D, x: tf.Tensor) => {
			variable.assignSlice(at, next(at), x, [1]);
			return tf.sum(tf.slice(variable.read(), [0, 0], [64, 1]));
		});
		const time = (call: () => void) => {
			const start = performance.now();
			call();
			return performance.now() - start;
		};
		const inPlace = (i: number) => tf.tidy(() => void write(tf.tensor1d([0, i], "int32"), tf.fill([64, 1], i)).dataSync());
		for (let i = 0; i < 3; i++) inPlace(i);
		const times = Array.from({ length: 10 }, (_, i) => time(() => inPlace(i)));
		// While what was read is held, each write must copy: the same call, for comparison.
		const copies = Array.from({ length: 3 }, (_, i) => {
			const held = variable.read();
			const copy = time(() => inPlace(i));
			held.dispose();
			return copy;
		});
		expect(Math.min(...times)).toBeLessThan(Math.min(...copies) / 5);
		write.dispose();
		variable.dispose();
	});

	it("leaves nothing behind in 1,000 calls", () => {
		const before = counts();
		const variable = new ResourceVariable([2, 16]);
		const step = compile((at: tf.Tensor1D, x: tf.Tensor) => {
			variable.assignSlice(at, next(at), x, [1]);
			return tf.sum(variable.read());
		});
		const call = (i: number) => tf.tidy(() => void step(tf.tensor1d([0, i % 16], "int32"), tf.ones([2, 1])));
		for (let i = 0; i < 3; i++) call(i);
		const held = counts();
		for (let i = 0; i < 1000; i++) call(i);
		expect(counts()).toEqual(held);
		step.dispose();
		variable.dispose();
		expect(counts()).toEqual(before);
	});

	it("frees the device's memory when it is disposed", () => {
		const rounds = Array.from({ length: 12 }, () => {
			const variable = new ResourceVariable([32, MEBIBYTE]); // 128 MiB each
			tf.tidy(() => variable.assign(tf.ones([32, MEBIBYTE])));
			variable.dispose();
			return process.memoryUsage().rss;
		});
		expect(rounds[11] - rounds[3]).toBeLessThan(300 * MEBIBYTE);
	});

	it("refuses to be made in a compiled function, and to be used by one after it is disposed", () => {
		const make = compile(() => new ResourceVariable([2]).read());
		expect(make).toThrow(CaptureError);
		expect(make).toThrow(/makes a resource variable; make it outside/);
		const variable = new ResourceVariable([2]);
		const read = compile(() => variable.read(), { name: "read" });
		tf.tidy(() => void read());
		variable.dispose();
		expect(read).toThrow(/a resource variable that "read_\w+" closes over was disposed/);
		read.dispose();
	});

	it("runs off the event loop", async () => {
		const variable = new ResourceVariable([4]);
		const add = compile((x: tf.Tensor) => variable.assign(tf.add(variable.read(), x)));
		const x = tf.tensor1d([1, 2, 3, 4]);
		await Promise.all(Array.from({ length: 5 }, () => add.runAsync([x])));
		const sum = variable.read();
		expect([...sum.dataSync()]).toEqual([5, 10, 15, 20]);
		sum.dispose();
		for (const thing of [x, add, variable]) thing.dispose();
	});
});
