/**
 * Rotary position embedding, half-split form (Su et al. 2021; transformers apply_rotary_pos_emb): the angle of
 * feature j turns the pair (x[j], x[j + D/2]).
 *
 *     y = x · cos + swapHalves(x) · [−sin, sin]
 *
 * The tables are computed on the host in float32, as the reference does: angle = fround(position · invFreq).
 */
import { fusedRotary, hasRowOps } from "../backend/row-ops.js";
import { add, concat, customGrad, type GradSaveFunc, mul, neg, split, type Tensor, type Tensor3D, tensor3d } from "../backend/tf.js";

/** cos and signed sin, each [N, 1, D]; the first half of `signedSin` is negated. */
export type RotaryTables = {
	cos: Tensor3D;
	signedSin: Tensor3D;
};

/** θ^(−2j/dim) for j < dim/2, in float32. */
export function inverseFrequencies(dim: number, theta: number): Float32Array {
	return Float32Array.from({ length: dim / 2 }, (_, j) => 1 / theta ** Math.fround((2 * j) / dim));
}

/** @param angles [N, D/2], row-major */
export function rotaryTables(angles: Float32Array, halfDim: number): RotaryTables {
	const n = angles.length / halfDim;
	const cos = new Float32Array(n * 2 * halfDim);
	const signedSin = new Float32Array(n * 2 * halfDim);
	for (let i = 0; i < n; i++) {
		const row = i * 2 * halfDim;
		for (let j = 0; j < halfDim; j++) {
			const angle = angles[i * halfDim + j];
			const s = Math.sin(angle);
			cos[row + j] = cos[row + halfDim + j] = Math.cos(angle);
			signedSin[row + j] = -s;
			signedSin[row + halfDim + j] = s;
		}
	}
	const shape: [number, number, number] = [n, 1, 2 * halfDim];
	return { cos: tensor3d(cos, shape), signedSin: tensor3d(signedSin, shape) };
}

function swapHalves(x: Tensor3D): Tensor3D {
	const [a, b] = split(x, 2, 2);
	return concat([b, a], 2) as Tensor3D;
}

/**
 * Turns every head of every row by that row's angles.
 * @param x [N, H, D]
 * @returns [N, H, D]
 */
export function applyRotary(x: Tensor3D, { cos, signedSin }: RotaryTables): Tensor3D {
	const op = customGrad((...args) => {
		const [x, save] = args as unknown as [Tensor3D, GradSaveFunc];
		save([cos, signedSin]);
		return {
			value: turn(x, cos, signedSin),
			gradFunc: (dy: Tensor, [cos, signedSin]: Tensor[]) => turn(dy as Tensor3D, cos as Tensor3D, neg(signedSin) as Tensor3D), // back
		};
	});
	return op(x) as Tensor3D;
}

function turn(x: Tensor3D, cos: Tensor3D, signedSin: Tensor3D): Tensor3D {
	return hasRowOps() ? fusedRotary(x, cos, signedSin) : add(mul(x, cos), mul(swapHalves(x), signedSin));
}
