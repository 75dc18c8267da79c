/**
 * A matrix of weights as layers use it: products with activations, and rows by index. Where the model computes in bfloat16 both are done in it, on
 * a matrix that is stored so or, to train, on a float32 one that is rounded for each use; activations come and go in float32 either way,
 * so layers need not know. A matrix may be stored in int8, to sample, or frozen below a low-rank adapter. The gradient of a float32 matrix is float32, made of bfloat16 operands as torch's autocast makes it.
 */
import { gatherBfloat16, isBfloat16, matMulBfloat16, reshapeBfloat16, toBfloat16, toFloat32 } from "../backend/bfloat16.js";
import { runAfter } from "../backend/graph/run-after.js";
import { fromInt8 } from "../backend/int8.js";
import { gatherNative, TF_TYPE } from "../backend/native-types.js";
import { fewRowsMatMul, fusedWidenBias, hasRowOps, isFewRows } from "../backend/row-ops.js";
import {
	add,
	customGrad,
	type GradSaveFunc,
	gather,
	matMul,
	mul,
	reshape,
	scatterND,
	sum,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	type Variable,
} from "../backend/tf.js";
import type { LowRank } from "./low-rank.js";

export class WeightMatrix {
	/**
	 * @param weight [out, in] or [out, …] (a convolution whose kernel equals its stride, like a patch embedding, is stored [out, C, t, p, p]:
	 *   the same matrix)
	 * @param bfloat16 compute in it
	 * @param scale [out] of a matrix in int8, which has no gradient itself
	 * @param adapter what is added to the product
	 */
	constructor(
		private readonly weight: Variable,
		private readonly bfloat16: boolean,
		private readonly scale?: Variable,
		private readonly adapter?: LowRank,
	) {}

	/**
	 * x Wᵀ, and the adapter's part
	 * @param x [N, in] float32, or bfloat16 of many rows where the matrix computes in it
	 * @param dropoutSeed [1] of the adapter's dropout; absent: nothing is dropped
	 * @returns [N, out] float32
	 */
	project(x: Tensor2D, dropoutSeed?: Tensor1D): Tensor2D {
		const product = this.product(x);
		return this.adapter ? add(product, this.adapter.project(x, dropoutSeed)) : product;
	}

	private product(x: Tensor2D): Tensor2D {
		const { weight, scale } = this;
		const few = isFewRows(x.shape[0]) && weight.rank === 2;
		if (scale) return projectInt8(x, weight as Tensor as Tensor2D, scale as Tensor as Tensor1D, { few, bfloat16: this.bfloat16 });
		if (few) return projectFewRows(x, weight, this.bfloat16);
		if (this.bfloat16) return projectBfloat16(x, weight);
		return matMul(x, (weight.rank === 2 ? weight : reshape(weight, [weight.shape[0], -1])) as Tensor as Tensor2D, false, true);
	}

	/** Whether `projectNarrow` can be called for so many rows of x, and the backend has ops that read its result (row-ops.ts). */
	isNarrow(rows: number): boolean {
		return this.bfloat16 && !this.scale && !this.adapter && hasRowOps() && !isFewRows(rows);
	}

	/** As `project`, and the result stays in bfloat16, for what reads it so. */
	projectNarrow(x: Tensor2D): Tensor2D {
		return projectBfloat16(x, this.weight, true);
	}

	/**
	 * The gradient adds up by `scatterND`, which every backend has (gather's own does not exist on wasm).
	 * @param ids [N] int32
	 * @returns [N, in]
	 */
	rows(ids: Tensor1D): Tensor2D {
		const { weight, bfloat16, scale } = this;
		if (scale)
			return mul(fromInt8(gatherNative(weight as Tensor as Tensor2D, ids, TF_TYPE.int8), "float"), reshape(gather(scale, ids), [-1, 1]));
		if (isBfloat16(weight)) return toFloat32(gatherBfloat16(weight as Tensor as Tensor2D, ids));
		const shape = weight.shape as [number, number];
		const op = customGrad((...args) => {
			const [weight, save] = args as unknown as [Tensor2D, GradSaveFunc];
			save([ids]);
			const rows = gather(weight, ids);
			return {
				value: bfloat16 ? toFloat32(toBfloat16(rows)) : rows,
				gradFunc: (dy: Tensor, saved: Tensor[]) => scatterND(reshape(saved[0], [-1, 1]), dy, shape),
			};
		});
		return op(weight) as Tensor2D;
	}
}

/** x + bias in float32. @param x [N, C] bfloat16 @param bias [C] */
export function widenBias(x: Tensor2D, bias: Variable): Tensor2D {
	const op = customGrad((...args) => ({
		value: fusedWidenBias(args[0] as Tensor2D, args[1] as Tensor),
		gradFunc: (dy: Tensor) => [dy, sum(dy, 0)],
	}));
	return op(x, bias) as Tensor2D;
}

/**
 * Integers up to 127 are exact in bfloat16, so the scale can come after the product. The gradient is that of x. The matrix is widened for
 * each use, once x is there: a graph would otherwise widen all matrices at its start, and keep them for the backward pass.
 */
function projectInt8(x: Tensor2D, weight: Tensor2D, scale: Tensor1D, { few, bfloat16 }: { few: boolean; bfloat16: boolean }): Tensor2D {
	const multiply = (x: Tensor2D, transposed: boolean): Tensor2D => {
		const matrix = fromInt8(runAfter(weight, [x]), bfloat16 ? "bfloat16" : "float");
		return bfloat16 ? toFloat32(matMulBfloat16(inBfloat16(x), matrix, false, transposed)) : matMul(x, matrix, false, transposed);
	};
	const op = customGrad((x) => ({
		value: few ? fewRowsMatMul(x as Tensor2D, weight, scale) : mul(multiply(x as Tensor2D, true), scale),
		gradFunc: (dy: Tensor) => multiply(mul(dy as Tensor2D, scale), false),
	}));
	return op(x) as Tensor2D;
}

/** The product of few rows in the addon's op. Its result is not rounded to bfloat16. */
function projectFewRows(x: Tensor2D, weight: Variable, bfloat16: boolean): Tensor2D {
	const frozen = !weight.trainable;
	const op = customGrad((...args) => {
		const [x, save] = [args[0] as Tensor2D, args[args.length - 1] as unknown as GradSaveFunc];
		save(frozen ? [] : [x]);
		return {
			value: fewRowsMatMul(x, bfloat16 ? matrixBfloat16(weight) : (weight as Tensor as Tensor2D)),
			gradFunc: bfloat16 ? gradientBfloat16(weight) : gradientFloat32(weight),
		};
	});
	return (frozen ? op(x) : op(x, weight)) as Tensor2D;
}

/** The weight is rounded again for the backward pass rather than kept: that costs little beside the products. */
function projectBfloat16(x: Tensor2D, weight: Variable, narrow = false): Tensor2D {
	const frozen = !weight.trainable;
	const op = customGrad((...args) => {
		const save = args[args.length - 1] as unknown as GradSaveFunc;
		const rounded = inBfloat16(args[0] as Tensor2D);
		save(frozen ? [] : [rounded]);
		const product = matMulBfloat16(rounded, matrixBfloat16(weight), false, true);
		return { value: narrow ? product : toFloat32(product), gradFunc: gradientBfloat16(weight) };
	});
	return (frozen ? op(x) : op(x, weight)) as Tensor2D;
}

/** Of x Wᵀ by x and, unless the weight is frozen, by W; x was saved, in either type. */
function gradientBfloat16(weight: Variable) {
	return (dy: Tensor, [x]: Tensor[]): Tensor[] => {
		const narrow = toBfloat16(dy as Tensor2D); // [N, out]
		const dx = toFloat32(matMulBfloat16(narrow, matrixBfloat16(weight)));
		if (!weight.trainable) return [dx];
		const dw = toFloat32(matMulBfloat16(narrow, inBfloat16(x as Tensor2D), true, false));
		return [dx, reshape(dw, weight.shape)];
	};
}

const inBfloat16 = (x: Tensor2D): Tensor2D => (isBfloat16(x) ? x : toBfloat16(x));

function gradientFloat32(weight: Variable) {
	return (dy: Tensor, [x]: Tensor[]): Tensor[] => {
		const dx = matMul(dy as Tensor2D, weight as Tensor as Tensor2D);
		return weight.trainable ? [dx, matMul(dy as Tensor2D, x as Tensor2D, true, false)] : [dx];
	};
}

/** [out, in] in bfloat16 */
function matrixBfloat16(weight: Variable): Tensor2D {
	const narrow: Tensor = isBfloat16(weight) ? weight : toBfloat16(weight);
	return (narrow.rank === 2 ? narrow : reshapeBfloat16(narrow, [narrow.shape[0], -1])) as Tensor2D;
}
