/**
 * Attention within segments of a packed sequence (a vision tower's windows or frames), never across them.
 * Where all segments have one length they are a batch axis and nothing is moved; otherwise each is padded to the longest.
 *
 * Legend: P packed tokens, N segments, L longest segment, H heads, D head dim.
 */
import { reshape, type Tensor2D, type Tensor3D, type Tensor4D, tensor4d, transpose } from "../backend/tf.js";
import { attention, MASKED } from "./attention.js";
import { type RowSelection, reversed, rowSelection, selectRows } from "./select-rows.js";

/** Where the tokens of each segment lie; its tensors are the caller's to dispose. */
export type Segments = {
	count: number;
	longest: number;
	/** Packed rows to [N·L] padded places; absent where every segment has L tokens. */
	padding?: RowSelection;
	/** [N, 1, 1, L] 0 or MASKED. */
	mask?: Tensor4D;
};

/**
 * Works out the padding once for a pass; every layer uses it again.
 * @param cuSeqlens the N + 1 cumulative boundaries, from 0 to P
 */
export function segmentsFrom(cuSeqlens: ArrayLike<number>): Segments {
	const count = cuSeqlens.length - 1;
	const lengths = Array.from({ length: count }, (_, i) => cuSeqlens[i + 1] - cuSeqlens[i]);
	const longest = Math.max(...lengths);
	if (lengths.every((l) => l === longest)) return { count, longest };
	const places = new Int32Array(count * longest).fill(-1);
	const mask = new Float32Array(count * longest).fill(MASKED);
	for (let s = 0; s < count; s++) {
		for (let i = 0; i < lengths[s]; i++) {
			places[s * longest + i] = cuSeqlens[s] + i;
			mask[s * longest + i] = 0;
		}
	}
	return { count, longest, padding: rowSelection(places, cuSeqlens[count]), mask: tensor4d(mask, [count, 1, 1, longest]) };
}

/**
 * @param q [P, H, D]
 * @param k [P, H, D]
 * @param v [P, H, D]
 * @returns [P, H·D]
 */
export function segmentAttention(q: Tensor3D, k: Tensor3D, v: Tensor3D, { count, longest, padding, mask }: Segments): Tensor2D {
	const [p, heads, d] = q.shape;
	const toBatch = (x: Tensor3D): Tensor4D => {
		const rows: Tensor2D = reshape(x, [p, heads * d]);
		const filled = padding ? selectRows(rows, padding) : rows;
		return transpose(reshape(filled, [count, longest, heads, d]), [0, 2, 1, 3]); // [N, H, L, D]
	};
	const out = attention(toBatch(q), toBatch(k), toBatch(v), mask);
	const rows: Tensor2D = reshape(transpose(out, [0, 2, 1, 3]), [count * longest, heads * d]);
	return padding ? selectRows(rows, reversed(padding)) : rows;
}
