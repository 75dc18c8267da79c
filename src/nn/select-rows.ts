/**
 * Rows of a matrix by index, each at most once, with −1 for a row of zeros: permutation, padding to equal lengths, and merging
 * image features into a token sequence are all this one operation. Its gradient is the same selection by the
 * inverse index, so no scatter is needed (and none is missing on wasm).
 */
import { concat, customGrad, gather, type Tensor, type Tensor2D, tensor1d, zeros } from "../backend/tf.js";

function select(x: Tensor2D, index: Int32Array): Tensor2D {
	const n = x.shape[0];
	const hasZeros = index.includes(-1);
	const source = hasZeros ? concat([x, zeros([1, x.shape[1]]) as Tensor2D], 0) : x;
	const rows = hasZeros ? index.map((i) => (i < 0 ? n : i)) : index;
	return gather(source, tensor1d(rows, "int32"));
}

/** For `index` into `n` rows: where each of the n rows went, −1 where it was left out. @throws if a row is named twice. */
export function invertIndex(index: Int32Array, n: number): Int32Array {
	const inverse = new Int32Array(n).fill(-1);
	index.forEach((row, to) => {
		if (row < 0) return;
		if (inverse[row] >= 0) throw new Error(`row ${row} is selected twice (places ${inverse[row]} and ${to})`);
		inverse[row] = to;
	});
	return inverse;
}

/**
 * @param x [N, C]
 * @param index M row numbers below N, distinct, or −1 for a row of zeros
 * @returns [M, C]
 */
export function selectRows(x: Tensor2D, index: Int32Array): Tensor2D {
	const inverse = invertIndex(index, x.shape[0]);
	const op = customGrad((x) => ({ value: select(x as Tensor2D, index), gradFunc: (dy: Tensor) => select(dy as Tensor2D, inverse) }));
	return op(x) as Tensor2D;
}
