/**
 * Every op that the model, the loss and the optimizer use, beside plain arithmetic that says what it must give.
 */
import * as tf from "../../src/backend/tf.js";
import { gelu, swiglu } from "../../src/nn/activations.js";
import { at, build, erfSeries, foldRows, map, mapRows, type Nd, product, zip } from "./plain-nd.js";

export interface OpCase {
	name: string;
	inputs: Nd[];
	/** The op on tensors: float32, or what `dtypes` says. */
	run: (...inputs: tf.Tensor[]) => tf.Tensor;
	/** The same on plain arrays. */
	reference: (inputs: Nd[]) => Nd;
	/** Types of the inputs, where they are not all float32. */
	dtypes?: ("float32" | "int32" | "bool")[];
	/** Type of the result; float32 by default. */
	dtype?: "float32" | "int32" | "bool";
	/** Which inputs have a gradient; all by default, none for ops on integers. */
	differentiable?: number[];
	/** Backends that have no kernel for the gradient, with a part of the error they give. */
	gradientMissing?: Partial<Record<"cpu" | "wasm" | "tensorflow", RegExp>>;
}

/** Values between −1.5 and 1.5 without a pattern; no two equal, none near zero. */
function wave(shape: number[], seed = 0): Nd {
	let i = seed * 100;
	return build(shape, () => {
		const value = Math.sin(++i * 12.9898) * 1.4;
		return value + Math.sign(value) * 0.1;
	});
}
const positive = (shape: number[], seed = 0) => map(wave(shape, seed), (x) => Math.abs(x) + 0.3);
const literal = (values: number[], shape: number[] = [values.length]): Nd => ({ values, shape });

const softmaxRow = (row: number[]) => {
	const exps = row.map((x) => Math.exp(x - Math.max(...row)));
	const total = exps.reduce((a, b) => a + b, 0);
	return exps.map((x) => x / total);
};
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const total = (row: number[]) => row.reduce((a, b) => a + b, 0);

function unary(name: string, run: (x: tf.Tensor) => tf.Tensor, f: (x: number) => number, input = wave([2, 3, 2])): OpCase {
	return { name, inputs: [input], run: (x) => run(x), reference: ([x]) => map(x, f) };
}

function binary(name: string, run: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor, f: (a: number, b: number) => number): OpCase[] {
	const shapes: [number[], number[]][] = [
		[
			[2, 3],
			[2, 3],
		],
		[[2, 3], []],
		[[2, 2, 3], [3]],
		[
			[2, 1, 3],
			[1, 4, 1],
		],
	];
	return shapes.map(([a, b]) => ({
		name: `${name} [${a}] [${b}]`,
		inputs: [wave(a, 1), positive(b, 2)],
		run: (x, y) => run(x, y),
		reference: ([x, y]) => zip(x, y, f),
	}));
}

function matMulCases(): OpCase[] {
	const leads = [[], [2], [2, 2]];
	return leads.flatMap((lead) =>
		[0, 1, 2, 3].map((bits): OpCase => {
			const [ta, tb] = [(bits & 1) > 0, (bits & 2) > 0];
			const a = wave([...lead, ...(ta ? [4, 3] : [3, 4])], 1);
			const b = wave([...lead, ...(tb ? [2, 4] : [4, 2])], 2);
			return {
				name: `matMul [${a.shape}]${ta ? "ᵀ" : ""} [${b.shape}]${tb ? "ᵀ" : ""}`,
				inputs: [a, b],
				run: (x, y) => tf.matMul(x, y, ta, tb),
				reference: ([x, y]) => product(x, y, ta, tb),
			};
		}),
	);
}

const elementwise: OpCase[] = [
	unary("neg", tf.neg, (x) => -x),
	unary("square", tf.square, (x) => x * x),
	unary("exp", tf.exp, Math.exp),
	unary("log", tf.log, Math.log, positive([5])),
	unary("sqrt", tf.sqrt, Math.sqrt, positive([5])),
	unary("rsqrt", tf.rsqrt, (x) => 1 / Math.sqrt(x), positive([5])),
	unary("abs", tf.abs, Math.abs),
	{ ...unary("round", tf.round, Math.round), differentiable: [] },
	unary("sigmoid", tf.sigmoid, sigmoid),
	unary("erf", tf.erf, erfSeries),
	unary(
		"gelu (nn)",
		(x) => gelu(x as tf.Tensor2D),
		(x) => (x * (1 + erfSeries(x / Math.SQRT2))) / 2,
		wave([2, 5]),
	),
	{
		name: "swiglu (nn)",
		inputs: [wave([2, 4], 1), wave([2, 4], 2)],
		run: (gate, up) => swiglu(gate as tf.Tensor2D, up as tf.Tensor2D),
		reference: ([gate, up]) => zip(gate, up, (g, u) => g * sigmoid(g) * u),
	},
	...binary("add", tf.add, (a, b) => a + b),
	...binary("sub", tf.sub, (a, b) => a - b),
	...binary("mul", tf.mul, (a, b) => a * b),
	...binary("div", tf.div, (a, b) => a / b),
	// TensorFlow.js has no gradient for a broadcast maximum on any backend: it gives one of the wrong shape, and refuses it.
	...binary("maximum", tf.maximum, Math.max).map((opCase, i) => (i === 0 ? opCase : { ...opCase, differentiable: [] })),
	{
		name: "addN",
		inputs: [wave([3], 1), wave([3], 2), wave([3], 3)],
		run: (...xs) => tf.addN(xs),
		reference: ([a, b, c]) =>
			zip(
				zip(a, b, (x, y) => x + y),
				c,
				(x, y) => x + y,
			),
	},
];

const reductions: OpCase[] = [
	{
		name: "sum of the last axis",
		inputs: [wave([2, 3, 4])],
		run: (x) => tf.sum(x, -1),
		reference: ([x]) => foldRows(x, total),
	},
	{
		name: "sum of everything",
		inputs: [wave([2, 3])],
		run: (x) => tf.sum(x),
		reference: ([x]) => ({ shape: [], values: [total([...x.values])] }),
	},
	{
		name: "mean, dims kept",
		inputs: [wave([2, 3, 4])],
		run: (x) => tf.mean(x, -1, true),
		reference: ([x]) => ({ shape: [2, 3, 1], values: foldRows(x, (row) => total(row) / row.length).values }),
	},
	{
		name: "max of the last axis",
		inputs: [wave([3, 4])],
		run: (x) => tf.max(x, -1),
		reference: ([x]) => foldRows(x, (row) => Math.max(...row)),
	},
	{ name: "softmax", inputs: [wave([2, 2, 5])], run: (x) => tf.softmax(x), reference: ([x]) => mapRows(x, softmaxRow) },
	{
		name: "softmax with −1e9 for what is masked",
		inputs: [literal([0.3, -1e9, 0.9, -1e9, -1e9, 1.2], [2, 3])],
		run: (x) => tf.softmax(x),
		reference: ([x]) => mapRows(x, softmaxRow),
		differentiable: [],
	},
	{
		name: "logSoftmax",
		inputs: [wave([3, 5])],
		run: (x) => tf.logSoftmax(x),
		reference: ([x]) => mapRows(x, (row) => softmaxRow(row).map(Math.log)),
	},
];

const layout: OpCase[] = [
	{ name: "reshape", inputs: [wave([2, 6])], run: (x) => tf.reshape(x, [3, -1]), reference: ([x]) => ({ ...x, shape: [3, 4] }) },
	{
		name: "transpose [0, 2, 1, 3]",
		inputs: [wave([2, 3, 2, 2])],
		run: (x) => tf.transpose(x, [0, 2, 1, 3]),
		reference: ([x]) => build([2, 2, 3, 2], ([b, t, h, d]) => at(x, [b, h, t, d])),
	},
	{
		name: "concat along the last axis",
		inputs: [wave([2, 3], 1), wave([2, 2], 2)],
		run: (a, b) => tf.concat([a, b], -1),
		reference: ([a, b]) => build([2, 5], ([r, c]) => (c < 3 ? at(a, [r, c]) : at(b, [r, c - 3]))),
	},
	{
		name: "concat along axis 2 of 4 (the KV cache)",
		inputs: [wave([1, 2, 3, 2], 1), wave([1, 2, 1, 2], 2)],
		run: (a, b) => tf.concat([a, b], 2),
		reference: ([a, b]) => build([1, 2, 4, 2], ([i, h, t, d]) => (t < 3 ? at(a, [i, h, t, d]) : at(b, [i, h, 0, d]))),
	},
	{
		name: "split, halves swapped (rotary)",
		inputs: [wave([2, 4])],
		run: (x) => {
			const [a, b] = tf.split(x, 2, -1);
			return tf.concat([tf.neg(b), a], -1);
		},
		reference: ([x]) => build([2, 4], ([r, c]) => (c < 2 ? -at(x, [r, c + 2]) : at(x, [r, c - 2]))),
	},
	{
		name: "split into unequal parts",
		inputs: [wave([2, 5])],
		run: (x) => tf.split(x, [1, 3, 1], 1)[1],
		reference: ([x]) => build([2, 3], ([r, c]) => at(x, [r, c + 1])),
	},
	{
		name: "slice",
		inputs: [wave([3, 4, 2])],
		run: (x) => tf.slice(x, [1, 0, 1], [2, 3, 1]),
		reference: ([x]) => build([2, 3, 1], ([a, b, c]) => at(x, [a + 1, b, c + 1])),
	},
	{
		name: "pad",
		inputs: [wave([2, 2])],
		run: (x) =>
			tf.pad(x, [
				[1, 0],
				[0, 2],
			]),
		reference: ([x]) => build([3, 4], ([r, c]) => (r > 0 && c < 2 ? at(x, [r - 1, c]) : 0)),
	},
	{
		name: "tile",
		inputs: [wave([2, 1, 2])],
		run: (x) => tf.tile(x, [1, 3, 1]),
		reference: ([x]) => build([2, 3, 2], ([a, , c]) => at(x, [a, 0, c])),
	},
	{
		name: "stack",
		inputs: [wave([3], 1), wave([3], 2)],
		run: (a, b) => tf.stack([a, b], 1),
		reference: ([a, b]) => build([3, 2], ([r, c]) => at(c === 0 ? a : b, [r])),
	},
];

const GATHER_GRADIENT = /UnsortedSegmentSum/;
const indexing: OpCase[] = [
	{
		name: "gather rows",
		inputs: [wave([4, 3]), literal([2, 0, 2])],
		dtypes: ["float32", "int32"],
		differentiable: [0],
		gradientMissing: { wasm: GATHER_GRADIENT },
		run: (x, ids) => tf.gather(x, ids as tf.Tensor1D),
		reference: ([x, ids]) => build([3, 3], ([r, c]) => at(x, [ids.values[r], c])),
	},
	{
		name: "gatherND",
		inputs: [wave([2, 3]), literal([0, 2, 1, 1], [2, 2])],
		dtypes: ["float32", "int32"],
		differentiable: [0],
		run: (x, at) => tf.gatherND(x, at),
		reference: ([x, places]) => build([2], ([r]) => at(x, [at(places, [r, 0]), at(places, [r, 1])])),
		gradientMissing: { cpu: /GatherNd/, wasm: /GatherNd/, tensorflow: /GatherNd/ },
	},
	{
		name: "scatterND adds up rows with equal indices",
		inputs: [literal([1, 3, 1], [3, 1]), wave([3, 2])],
		dtypes: ["int32", "float32"],
		differentiable: [],
		run: (at, rows) => tf.scatterND(at, rows, [4, 2]),
		reference: ([places, rows]) => build([4, 2], ([r, c]) => total(places.values.map((place, i) => (place === r ? at(rows, [i, c]) : 0)))),
	},
	{
		name: "where",
		inputs: [literal([1, 0, 0, 1], [2, 2]), wave([2, 2], 1), wave([2, 2], 2)],
		dtypes: ["bool", "float32", "float32"],
		differentiable: [1, 2],
		run: (condition, a, b) => tf.where(condition, a, b),
		reference: ([condition, a, b]) => build([2, 2], (index) => at(at(condition, index) ? a : b, index)),
	},
	{
		name: "oneHot int32",
		inputs: [literal([2, 0])],
		dtypes: ["int32"],
		dtype: "int32",
		run: (x) => tf.oneHot(x, 3, 1, 0, "int32"),
		reference: ([x]) => build([2, 3], ([r, c]) => (x.values[r] === c ? 1 : 0)),
	},
	{
		name: "cast int32 → float32",
		inputs: [literal([-2, 0, 3])],
		dtypes: ["int32"],
		run: (x) => tf.cast(x, "float32"),
		reference: ([x]) => x,
	},
	{
		name: "cast bool → float32",
		inputs: [literal([1, 0, 1])],
		dtypes: ["bool"],
		run: (x) => tf.cast(x, "float32"),
		reference: ([x]) => x,
	},
	{
		name: "equal",
		inputs: [literal([1, 2, 3, 1, 2, 3], [2, 1, 3]), literal([1, 2, 3, 1, 3, 3], [2, 3, 1])],
		dtypes: ["int32", "int32"],
		dtype: "bool",
		run: (a, b) => tf.equal(a, b),
		reference: ([a, b]) => zip(a, b, (x, y) => Number(x === y)),
	},
	{
		name: "greaterEqual",
		inputs: [literal([1, 2, 3]), literal([2, 2, 2])],
		dtypes: ["int32", "int32"],
		dtype: "bool",
		run: (a, b) => tf.greaterEqual(a, b),
		reference: ([a, b]) => zip(a, b, (x, y) => Number(x >= y)),
	},
	{
		name: "argMax",
		inputs: [wave([3, 5])],
		dtype: "int32",
		differentiable: [],
		run: (x) => tf.argMax(x, -1),
		reference: ([x]) => foldRows(x, (row) => row.indexOf(Math.max(...row))),
	},
	{
		name: "argMax takes the first of equals",
		inputs: [literal([1, 3, 3, 2], [1, 4])],
		dtype: "int32",
		differentiable: [],
		run: (x) => tf.argMax(x, -1),
		reference: () => literal([1]),
	},
	{
		name: "topk values",
		inputs: [wave([2, 5])],
		differentiable: [],
		run: (x) => tf.topk(x, 3).values,
		reference: ([x]) => build([2, 3], ([r, c]) => [...x.values.slice(r * 5, r * 5 + 5)].sort((a, b) => b - a)[c]),
	},
	{
		name: "topk indices",
		inputs: [wave([2, 5])],
		dtype: "int32",
		differentiable: [],
		run: (x) => tf.topk(x, 3).indices,
		reference: ([x]) =>
			build([2, 3], ([r, c]) => {
				const row = x.values.slice(r * 5, r * 5 + 5);
				return row.indexOf([...row].sort((a, b) => b - a)[c]);
			}),
	},
];

/** Ops that make tensors, beside an input that they must leave as it is. */
const creation: OpCase[] = [
	unary(
		"ones",
		(x) => tf.mul(x, tf.ones([2, 3, 2])),
		(x) => x,
	),
	unary(
		"zeros",
		(x) => tf.add(x, tf.zeros([2, 3, 2])),
		(x) => x,
	),
	unary(
		"fill",
		(x) => tf.mul(x, tf.fill([2, 3, 2], 3)),
		(x) => 3 * x,
	),
	unary(
		"clone",
		(x) => tf.clone(x),
		(x) => x,
	),
	unary(
		"randomNormal: a seed gives the same numbers again",
		(x) => tf.add(x, tf.sub(tf.randomNormal([2, 3, 2], 0, 1, "float32", 7), tf.randomNormal([2, 3, 2], 0, 1, "float32", 7))),
		(x) => x,
	),
];

export const OP_CASES: OpCase[] = [...elementwise, ...matMulCases(), ...reductions, ...layout, ...indexing, ...creation];
