/** What a graph cannot do is an error that names the op, and leaves nothing behind; an addon without functions runs eagerly. */
import { beforeAll, describe, expect, it } from "vitest";
import { CaptureError, compile } from "../../../src/backend/graph/compile.js";
import { currentNativeBackend, type NativeBackend } from "../../../src/backend/native-binding.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";
import { nativeMissing } from "../native-runtime.js";

let kept: tf.Tensor | undefined;
const keep = (x: tf.Tensor) => {
	kept = tf.keep(x);
	return tf.neg(x);
};
const drop = () => {
	kept?.dispose();
	return [];
};

const REFUSED: [what: string, fn: (x: tf.Tensor) => unknown, op: string, message: RegExp][] = [
	["dataSync of a result", (x) => tf.mul(x, tf.sum(x).dataSync()[0]), "Sum", /reads the result of "Sum" on the host/],
	["arraySync of an argument", (x) => tf.mul(x, (x.arraySync() as number[])[0]), "read", /reads a tensor from outside/],
	[
		"a host read whose error is swallowed",
		(x) => {
			tf.exp(x)
				.data()
				.catch(() => {});
			return x;
		},
		"Exp",
		/reads the result of "Exp"/,
	],
	["randomNormal without a seed", (x) => tf.add(x, tf.randomNormal([2])), "randomNormal", /"randomNormal" without a seed/],
	["dropout", (x) => tf.dropout(x, 0.5), "dropout", /"(dropout|randomUniform)" without a seed/],
	["Math.random", (x) => tf.mul(x, Math.random()), "Math.random", /"Math.random" without a seed/],
	["multinomial", (x) => tf.multinomial(x as tf.Tensor1D, 2, 7), "Multinomial", /"Multinomial" is random/],
	["a result that is kept", (x) => keep(tf.square(x)), "Square", /the result of "Square" outlives/],
	["host values that are kept", (x) => keep(tf.tensor1d([1, 2])) && x, "tensor", /a tensor made of host values .* outlives/],
	["a tensor from outside that is disposed", (x) => tf.addN([x, ...drop()]), "dispose", /disposes a tensor that it did not make/],
];

describe.skipIf(nativeMissing)("compile refuses", () => {
	let native: NativeBackend;
	beforeAll(async () => {
		await selectBackend("native-cpu");
		native = currentNativeBackend() as NativeBackend;
	});

	it("assigning a variable, and shapes that depend on values, where it only traces", () => {
		const w = tf.tidy(() => tf.variable(tf.tensor1d([3, 4])));
		const x = tf.tensor1d([1, 2]);
		const before = tf.memory().numTensors;
		const assigns = compile((x: tf.Tensor) => void w.assign(tf.add(w, x) as tf.Tensor1D), { trace: true });
		expect(() => assigns(x)).toThrow(/assigns a variable and is only traced; return the value and assign it outside/);
		const unique = compile((x: tf.Tensor) => tf.unique(x).values, { trace: true });
		expect(() => unique(x)).toThrow(/shape of the result of "UniqueV2" does not follow .* leave out the option `trace`/);
		expect([...w.dataSync()]).toEqual([3, 4]);
		expect(tf.memory().numTensors).toBe(before);
		tf.dispose([w, x]);
	});

	it.each(REFUSED)("%s", (_, fn, op, message) => {
		const compiled = compile(fn as (x: tf.Tensor) => tf.Tensor);
		const x = tf.tensor1d([1, 2]);
		kept = tf.tensor1d([5]);
		tf.neg(kept).dispose(); // uploads it
		let error: unknown;
		try {
			compiled(x);
		} catch (thrown) {
			error = thrown;
		}
		expect(error).toBeInstanceOf(CaptureError);
		expect((error as CaptureError).message).toMatch(message);
		if (op !== "dropout") expect((error as CaptureError).op).toBe(op);
		expect(compiled.signatures).toBe(0);
		tf.dispose([x, kept]);
		// The interception is gone.
		expect(tf.tidy(() => tf.randomNormal([2]).dataSync())).toHaveLength(2);
		expect(Object.hasOwn(native, "getInputTensorIds")).toBe(false);
	});

	it("arguments and results that are no tensors, with their place", () => {
		const any = compile((...args: unknown[]) => args[0] as tf.Tensor);
		expect(() => any(new Float32Array(2))).toThrow(/argument 1 is a Float32Array; expected tensors, numbers/);
		expect(() => any(1, { a: [new Map()] })).toThrow(/argument 2\.a\[0\] is a Map/);
		expect(() => any("text")).toThrow(/the result is text; expected a tensor/);
		expect(() => compile(async () => tf.scalar(1))()).toThrow(/the result is a Promise/);
		expect(() => compile(() => undefined, { maxSignatures: 0 })).toThrow(/maxSignatures is 0; expected at least 1/);
	});

	it("variables made at every call", () => {
		const made: tf.Variable[] = [];
		const fn = compile((x: tf.Tensor) => {
			made.push(tf.variable(x));
			return tf.neg(x);
		});
		const { numTensors } = tf.memory();
		tf.tidy(() => void fn(tf.scalar(1)));
		expect(() => tf.tidy(() => fn(tf.scalar(1)))).toThrow(/makes variables at every call/);
		for (const variable of made) variable.dispose();
		expect(tf.memory().numTensors).toBe(numTensors);
	});

	it("to go on without what it closed over", () => {
		const x = tf.tensor1d([1, 2]);
		const w = tf.variable(tf.scalar(2));
		const times = compile(() => tf.mul(x, w), { name: "times" });
		tf.tidy(() => void times());
		tf.tidy(() => void times());
		x.dispose();
		expect(times).toThrow(/a tensor of shape \[2\] that "times_\w+" closes over was disposed/);
		times.dispose();
		w.dispose();
	});

	it("leaves nothing behind when the function throws", () => {
		const fn = compile((x: tf.Tensor): tf.Tensor => {
			tf.square(x);
			throw new Error("own error");
		});
		const x = tf.scalar(1);
		const before = [tf.memory().numTensors, native.binding.getNumOfTensors()];
		expect(() => fn(x)).toThrow("own error");
		expect([tf.memory().numTensors, native.binding.getNumOfTensors() - 1]).toEqual(before); // x is uploaded
		x.dispose();
	});

	it("nothing, and says so, on an addon without addFunction", () => {
		const real = native.binding;
		const stock = Object.create(real, { addFunction: { value: undefined } });
		let calls = 0;
		const fn = compile((x: tf.Tensor) => {
			calls++;
			return tf.add(x, x.dataSync()[0]);
		});
		Object.assign(native, { binding: stock });
		try {
			expect(fn.mode).toBe("eager");
			expect(fn.modeReason).toMatch(/no addFunction.*npx tfjs-rft setup/);
			for (let i = 0; i < 2; i++) expect(tf.tidy(() => fn(tf.scalar(3)).dataSync())[0]).toBe(6);
			expect(calls).toBe(2);
		} finally {
			Object.assign(native, { binding: real });
		}
		expect(fn.mode).toBe("graph");
	});
});
