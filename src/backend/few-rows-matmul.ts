/**
 * x Wᵀ for few rows of x, by the addon's own op (`native/few_rows.h`): what decode steps consist of. It reads W once, as it is stored, at the
 * memory's speed; TensorFlow's kernels read it at half of that. For many rows TensorFlow's are faster.
 */
import { currentNativeBackend } from "./native-binding.js";
import { executeNative, intAttr, nativeTypeOf, TF_TYPE, typeAttr } from "./native-types.js";
import type { Tensor, Tensor1D, Tensor2D } from "./tf.js";

/** From more rows on TensorFlow's product is faster (docs/decisions/few-rows.md). */
const MOST_ROWS = 32;

/** Whether the current backend has the op: a native CPU backend, on a processor with the instructions. */
export function hasFewRowsMatMul(): boolean {
	const backend = currentNativeBackend();
	return !!backend?.binding.rowOpInstructions && !backend.isUsingGpuDevice;
}

/** Whether a product of so many rows with the weight is for `fewRowsMatMul`. */
export function isFewRows(rows: number, weight: Tensor): boolean {
	return rows <= MOST_ROWS && weight.rank === 2 && hasFewRowsMatMul();
}

/**
 * Without a gradient: callers bring theirs.
 * @param x [N, in] float32; beside bfloat16 and int8 weights it is rounded to bfloat16 where the processor multiplies in that
 * @param weight [out, in] float32, bfloat16 or int8
 * @param scale [out] of int8 weights
 * @returns [N, out] float32, sums in float32
 */
export function fewRowsMatMul(x: Tensor2D, weight: Tensor2D, scale?: Tensor1D): Tensor2D {
	const attrs = [typeAttr("T", nativeTypeOf(weight) ?? TF_TYPE.float), intAttr("S", scale ? 1 : 0)];
	return executeNative("FewRowsMatMul", attrs, scale ? [x, weight, scale] : [x, weight]) as Tensor2D;
}
