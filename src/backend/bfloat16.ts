/**
 * bfloat16 on the native backend: the upper half of a float32, half the bytes, and matrix products that modern CPUs and GPUs compute faster.
 * A bfloat16 tensor says that it is float32, and only the functions here read it: see native-types.ts.
 *
 * Each product is accumulated in float32 and rounded once, to nearest even, as torch's.
 */
import { boolAttr, castNative, executeNative, gatherNative, nativeBackend, nativeTypeOf, TF_TYPE, typeAttr } from "./native-types.js";
import { type Tensor, type Tensor1D, type Tensor2D, tensor1d, tidy } from "./tf.js";

const { float: FLOAT, int32: INT32, uint8: UINT8, bfloat16: BFLOAT16 } = TF_TYPE;

/** Whether the tensor, or the variable's value, is in bfloat16. */
export function isBfloat16(tensor: Tensor): boolean {
	return nativeTypeOf(tensor) === BFLOAT16;
}

/** Rounds a float32 tensor to nearest even. */
export function toBfloat16<T extends Tensor>(x: T): T {
	if (isBfloat16(x)) throw wrongType("float32", "bfloat16", x);
	return castNative(x, FLOAT, BFLOAT16) as T;
}

/** Widens a bfloat16 tensor; exact. */
export function toFloat32<T extends Tensor>(x: T): T {
	if (!isBfloat16(x)) throw wrongType("bfloat16", "float32", x);
	return castNative(x, BFLOAT16, FLOAT) as T;
}

/**
 * A bfloat16 tensor of a safetensors file's bytes, never widened. The bytes are copied before this returns.
 *
 * @param bytes little-endian, two per element
 */
export function bfloat16FromBytes(bytes: Uint8Array, shape: readonly number[]): Tensor {
	const { binding } = nativeBackend();
	const halves = binding.createTensor([...shape, 2], UINT8, bytes);
	const [bits] = binding.executeOp("Bitcast", [typeAttr("T", UINT8), typeAttr("type", BFLOAT16)], [halves], 1);
	// Both share the array's memory on the CPU; DeepCopy always copies.
	const [copy] = binding.executeOp("DeepCopy", [typeAttr("T", BFLOAT16)], [bits.id], 1);
	binding.deleteTensor(halves);
	binding.deleteTensor(bits.id);
	return nativeBackend().createOutputTensor(copy);
}

/** A bfloat16 tensor in another shape. */
export function reshapeBfloat16(x: Tensor, shape: readonly number[]): Tensor {
	return tidy(() => executeNative("Reshape", [typeAttr("T", BFLOAT16), typeAttr("Tshape", INT32)], [x, tensor1d([...shape], "int32")]));
}

/** Product of two bfloat16 matrices, in bfloat16; each may be taken transposed. */
export function matMulBfloat16(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
	const attrs = [typeAttr("T", BFLOAT16), boolAttr("transpose_a", transposeA), boolAttr("transpose_b", transposeB)];
	return executeNative("MatMul", attrs, [a, b]) as Tensor2D;
}

/** Rows of a bfloat16 matrix, in bfloat16. @param ids int32 */
export function gatherBfloat16(matrix: Tensor2D, ids: Tensor1D): Tensor2D {
	return gatherNative(matrix, ids, BFLOAT16);
}

function wrongType(expected: string, got: string, { shape }: Tensor): TypeError {
	return new TypeError(`bfloat16: expected a ${expected} tensor, got one in ${got}, of shape [${shape}]; leave the conversion out`);
}
