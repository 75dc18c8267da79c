/**
 * x Wᵀ for few rows of x, by the addon's own op (`native/few_rows.h`): what decode steps consist of. It reads W once, as it is stored, at the
 * memory's speed; TensorFlow's kernels read it at half of that. For many rows TensorFlow's are faster.
 */
import { isBfloat16 } from "./bfloat16.js";
import { currentNativeBackend, type NativeBackend } from "./native-binding.js";
import type { Tensor, Tensor2D } from "./tf.js";

// TensorFlow's numbers of types.
const FLOAT = 1;
const BFLOAT16 = 14;
/** From more rows on TensorFlow's product is faster (bench/few-rows.ts). */
const MOST_ROWS = 32;

/** Whether `fewRowsMatMul` can be called, and should be: a native CPU backend whose addon has the op, and a matrix. */
export function isFewRows(rows: number, weight: Tensor): boolean {
	const backend = currentNativeBackend();
	return rows <= MOST_ROWS && weight.rank === 2 && !!backend?.binding.fewRowsInstructions && !backend.isUsingGpuDevice;
}

/**
 * Without a gradient: callers bring theirs.
 * @param x [N, in] float32; beside bfloat16 weights it is rounded to bfloat16 where the processor multiplies in that
 * @param weight [out, in] float32 or bfloat16
 * @returns [N, out] float32, sums in float32
 */
export function fewRowsMatMul(x: Tensor2D, weight: Tensor2D): Tensor2D {
	const backend = currentNativeBackend() as NativeBackend;
	const { binding } = backend;
	const attrs = [
		{ name: "T", type: binding.TF_ATTR_TYPE, value: isBfloat16(weight) ? BFLOAT16 : FLOAT },
		{ name: "S", type: binding.TF_ATTR_INT, value: 0 },
	];
	const [output] = binding.executeOp("FewRowsMatMul", attrs, backend.getInputTensorIds([x, weight]), 1);
	return backend.createOutputTensor(output) as Tensor2D;
}
