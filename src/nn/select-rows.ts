/**
 * Rows of a matrix by index, each at most once, with −1 for a row of zeros: permutation, padding to equal lengths, and merging
 * image features into a token sequence are all this one operation. Its gradient is the same selection by the
 * inverse index, so no scatter is needed (and none is missing on wasm).
 *
 * The indices are on the device: a captured pass takes them as inputs, and is not bound to the batch it was recorded with.
 */
import {
	concat,
	customGrad,
	type GradSaveFunc,
	gather,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor1d,
	zeros,
} from "../backend/tf.js";

/** M rows of N by index, and the way back. */
export type RowSelection = {
	/** [M] row numbers; N stands for a row of zeros. */
	index: Tensor1D;
	/** [N] where each row went; M for a row that was left out. */
	inverse: Tensor1D;
	/** Whether `index` has rows of zeros. */
	gaps: boolean;
	/** Whether rows are left out. */
	leavesOut: boolean;
};

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
 * Puts a selection on the device; the caller disposes its two tensors.
 * @param index M row numbers below `n`, distinct, or −1 for a row of zeros
 * @param n rows of the matrix that will be selected from
 */
export function rowSelection(index: Int32Array, n: number): RowSelection {
	const inverse = invertIndex(index, n);
	const gapAt = (rows: Int32Array, end: number) =>
		tensor1d(
			Int32Array.from(rows, (row) => (row < 0 ? end : row)),
			"int32",
		);
	return { index: gapAt(index, n), inverse: gapAt(inverse, index.length), gaps: index.includes(-1), leavesOut: inverse.includes(-1) };
}

/** The selection that undoes `selection`. */
export function reversed({ index, inverse, gaps, leavesOut }: RowSelection): RowSelection {
	return { index: inverse, inverse: index, gaps: leavesOut, leavesOut: gaps };
}

function select(x: Tensor2D, index: Tensor1D, gaps: boolean): Tensor2D {
	return gather(gaps ? concat([x, zeros([1, x.shape[1]]) as Tensor2D], 0) : x, index);
}

/**
 * @param x [N, C]
 * @returns [M, C]
 */
export function selectRows(x: Tensor2D, { index, inverse, gaps, leavesOut }: RowSelection): Tensor2D {
	const op = customGrad((...args) => {
		const [x, save] = args as unknown as [Tensor2D, GradSaveFunc];
		save([inverse]);
		return {
			value: select(x, index, gaps),
			gradFunc: (dy: Tensor, [inverse]: Tensor[]) => select(dy as Tensor2D, inverse as Tensor1D, leavesOut),
		};
	});
	return op(x) as Tensor2D;
}
