/**
 * Ops of the addon's own (`native/row_ops.cc`), where TensorFlow has none that is as fast on a CPU: products of few rows, which decode steps consist of and
 * which read each weight once, at the memory's speed; and what stands between a decoder's products, in one pass over memory where ops take five. None has
 * a gradient: callers bring theirs.
 */
import { currentNativeBackend } from "./native-binding.js";
import { executeNative, floatAttr, intAttr, nativeBackend, nativeTypeOf, TF_TYPE, typeAttr } from "./native-types.js";
import type { Tensor, Tensor1D, Tensor2D } from "./tf.js";

/** From more rows on TensorFlow's product is faster (docs/decisions/few-rows.md). */
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
	const backend = nativeBackend();
	const attrs = [typeAttr("T", narrow ? TF_TYPE.bfloat16 : TF_TYPE.float), floatAttr("eps", eps)];
	const outputs = backend.binding.executeOp("FusedRmsNorm", attrs, backend.getInputTensorIds([x, weight]), 2);
	return outputs.map((output) => backend.createOutputTensor(output)) as [Tensor2D, Tensor2D];
}

/** silu(gate) · up, computed in float32; both float32, or both bfloat16 and so is the result. */
export function fusedSwiglu<T extends Tensor>(gate: T, up: T): T {
	return executeNative("FusedSwiglu", [typeAttr("T", nativeTypeOf(gate) ?? TF_TYPE.float)], [gate, up]) as T;
}
