/**
 * Attention within segments of a packed sequence (a vision tower's windows or frames), never across them.
 * Where all segments have one length they are a batch axis and nothing is moved; otherwise each is padded to the longest.
 *
 * Legend: P packed tokens, N segments, L longest segment, H heads, D head dim.
 */
import { reshape, type Tensor2D, type Tensor3D, type Tensor4D, tensor4d, transpose } from "../backend/tf.js";
import { attention, MASKED } from "./attention.js";
import { selectRows } from "./select-rows.js";

/** Where the tokens of each segment lie: `cuSeqlens` are the N + 1 cumulative boundaries, from 0 to P. */
export interface Segments {
	count: number;
	longest: number;
	/** [N·L] packed row of each padded place, −1 on padding; absent where every segment has L tokens. */
	padded?: Int32Array;
	/** [P] padded place of each packed row. */
	unpadded?: Int32Array;
	/** [N, 1, 1, L] 0 or MASKED. */
	mask?: Float32Array;
}

/** Works out the padding once for a pass; every layer uses it again. */
export function segmentsFrom(cuSeqlens: ArrayLike<number>): Segments {
	const count = cuSeqlens.length - 1;
	const lengths = Array.from({ length: count }, (_, i) => cuSeqlens[i + 1] - cuSeqlens[i]);
	const longest = Math.max(...lengths);
	if (lengths.every((l) => l === longest)) return { count, longest };
	const padded = new Int32Array(count * longest).fill(-1);
	const unpadded = new Int32Array(cuSeqlens[count]);
	const mask = new Float32Array(count * longest).fill(MASKED);
	for (let s = 0; s < count; s++) {
		for (let i = 0; i < lengths[s]; i++) {
			padded[s * longest + i] = cuSeqlens[s] + i;
			unpadded[cuSeqlens[s] + i] = s * longest + i;
			mask[s * longest + i] = 0;
		}
	}
	return { count, longest, padded, unpadded, mask };
}

/**
 * @param q [P, H, D]
 * @param k [P, H, D]
 * @param v [P, H, D]
 * @returns [P, H·D]
 */
export function segmentAttention(q: Tensor3D, k: Tensor3D, v: Tensor3D, segments: Segments): Tensor2D {
	const [p, heads, d] = q.shape;
	const { count, longest, padded, unpadded } = segments;
	const toBatch = (x: Tensor3D): Tensor4D => {
		const rows: Tensor2D = reshape(x, [p, heads * d]);
		const filled = padded ? selectRows(rows, padded) : rows;
		return transpose(reshape(filled, [count, longest, heads, d]), [0, 2, 1, 3]); // [N, H, L, D]
	};
	const mask = segments.mask && tensor4d(segments.mask, [count, 1, 1, longest]);
	const out = attention(toBatch(q), toBatch(k), toBatch(v), mask);
	const rows: Tensor2D = reshape(transpose(out, [0, 2, 1, 3]), [count * longest, heads * d]);
	return unpadded ? selectRows(rows, unpadded) : rows;
}
