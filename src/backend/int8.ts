/**
 * Weights in int8 on the native backend: a scale per row, symmetric, rounded to nearest. A quarter of float32's bytes, for decode steps, whose time
 * goes into reading weights. Nothing is trained in it.
 */
import { castNative, nativeTypeOf, TF_TYPE } from "./native-types.js";
import { abs, div, max, maximum, round, type Tensor, type Tensor1D, type Tensor2D, tidy } from "./tf.js";

const LARGEST = 127;

/** The matrix is `values` · `scale`, to half a step of each row. */
export interface Int8Matrix {
	/** [out, in], int8 */
	values: Tensor2D;
	/** [out] */
	scale: Tensor1D;
}

/** Whether the tensor, or the variable's value, is in int8. */
export function isInt8(tensor: Tensor): boolean {
	return nativeTypeOf(tensor) === TF_TYPE.int8;
}

/** @param matrix [out, in] float32 */
export function toInt8(matrix: Tensor2D): Int8Matrix {
	return tidy(() => {
		const scale = div(maximum(max(abs(matrix), 1, true), 1e-30), LARGEST) as Tensor2D;
		return { values: castNative(round(div(matrix, scale)), TF_TYPE.float, TF_TYPE.int8) as Tensor2D, scale: scale.flatten() };
	}) as unknown as Int8Matrix;
}

/** Each as a float32, or a bfloat16; exact, and without the scale. */
export function fromInt8(values: Tensor2D, type: "float" | "bfloat16"): Tensor2D {
	return castNative(values, TF_TYPE.int8, TF_TYPE[type]) as Tensor2D;
}
