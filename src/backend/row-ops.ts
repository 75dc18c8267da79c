/**
 * Ops of the addon's own (`native/row_ops.cc`), where TensorFlow has none that is as fast on a CPU: products of few rows, which decode steps consist of and
 * which read each weight once, at the memory's speed; and what stands between a decoder's products, in one pass over memory where ops take five. None has
 * a gradient: callers bring theirs.
 */
import { currentNativeBackend } from "./native-binding.js";
import { executeNative, executeNativeFor, floatAttr, intAttr, nativeTypeOf, TF_TYPE, typeAttr } from "./native-types.js";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from "./tf.js";

/** From more rows on TensorFlow's product is faster (docs/decisions/row-ops.md). */
const MOST_ROWS = 32;

/** Whether the current backend has the ops: a native CPU backend, on a processor with the instructions. */
export function hasRowOps(): boolean {
	const backend = currentNativeBackend();
	return !!backend?.binding.rowOpInstructions && !backend.isUsingGpuDevice;
}

/** Whether products of so many rows are for `fewRowsMatMul`. */
export function isFewRows(rows: number): boolean {
	return rows <= MOST_ROWS && hasRowOps();
}

/**
 * x Wᵀ
 * @param x [N, in] float32; beside bfloat16 and int8 weights it is rounded to bfloat16 where the processor multiplies in that
 * @param weight [out, in] float32, bfloat16 or int8
 * @param scale [out] of int8 weights
 * @returns [N, out] float32, sums in float32
 */
export function fewRowsMatMul(x: Tensor2D, weight: Tensor2D, scale?: Tensor1D): Tensor2D {
	const attrs = [typeAttr("T", nativeTypeOf(weight) ?? TF_TYPE.float), intAttr("S", scale ? 1 : 0)];
	return executeNative("FewRowsMatMul", attrs, scale ? [x, weight, scale] : [x, weight]) as Tensor2D;
}

/**
 * w · x / √(mean(x²) + ε)
 * @param x [N, C] float32
 * @param weight [C]
 * @param narrow round the result to bfloat16
 * @returns the result [N, C], and 1 / √(mean(x²) + ε) [N, 1]
 */
export function fusedRmsNorm(x: Tensor2D, weight: Tensor, eps: number, narrow = false): [Tensor2D, Tensor2D] {
	const attrs = [typeAttr("T", narrow ? TF_TYPE.bfloat16 : TF_TYPE.float), floatAttr("eps", eps)];
	return executeNativeFor(2, "FusedRmsNorm", attrs, [x, weight]) as [Tensor2D, Tensor2D];
}

/**
 * silu(gate + its bias) · (up + its bias), computed in float32
 * @param gate [N, C], float32 or bfloat16
 * @param up of the same shape and type
 * @param biases [C] each, or none
 * @returns of the same shape and type
 */
export function fusedSwiglu(gate: Tensor2D, up: Tensor2D, biases: readonly Tensor[] = []): Tensor2D {
	const attrs = [typeAttr("T", nativeTypeOf(gate) ?? TF_TYPE.float), intAttr("B", biases.length)];
	return executeNative("FusedSwiglu", attrs, [gate, up, ...biases]) as Tensor2D;
}

/** x + bias in float32. @param x [N, C] bfloat16 @param bias [C] */
export function fusedWidenBias(x: Tensor2D, bias: Tensor): Tensor2D {
	return executeNative("FusedWidenBias", [], [x, bias]) as Tensor2D;
}

/** x · cos + x's swapped halves · signedSin. @param x [N, H, D] @param cos [N, 1, D] @param signedSin [N, 1, D] */
export function fusedRotary(x: Tensor3D, cos: Tensor3D, signedSin: Tensor3D): Tensor3D {
	return executeNative("FusedRotary", [], [x, cos, signedSin]) as Tensor3D;
}
