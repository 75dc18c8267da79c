/**
 * A low-rank addition to a frozen matrix: y = x Wᵀ + s · drop(x) Aᵀ Bᵀ (LoRA, Hu et al. 2021; peft tuners/lora/layer.py, Linear).
 * A and B are float32 whatever W is, and so are their products, as peft's `autocast_adapter_dtype` has it.
 *
 * Legend: N rows, r rank.
 */
import { isBfloat16, toFloat32 } from "../backend/bfloat16.js";
import { runAfter } from "../backend/graph/run-after.js";
import { statelessUniform } from "../backend/stateless-random.js";
import {
	add,
	cast,
	concat,
	customGrad,
	greaterEqual,
	matMul,
	mul,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor1d,
	tidy,
	type Variable,
} from "../backend/tf.js";
import { WeightMatrix } from "./weight-matrix.js";

export interface LowRankOptions {
	/** s: alpha / r, or alpha / √r (rsLoRA). */
	scaling: number;
	/** Part of x that is set to 0 while training; the rest grows by 1 / (1 − rate). */
	dropout: number;
	/** Goes into the draw, so that no two matrices drop the same. */
	index: number;
}

export class LowRank {
	private readonly a: WeightMatrix;
	private readonly b: WeightMatrix;

	/**
	 * @param a [r, in]
	 * @param b [out, r]
	 */
	constructor(
		private readonly lora_A: Variable,
		private readonly lora_B: Variable,
		private readonly options: LowRankOptions,
	) {
		this.a = new WeightMatrix(lora_A, false);
		this.b = new WeightMatrix(lora_B, false);
	}

	/** The matrix with its addition, to be merged. @param weight [out, in] float32 */
	merged(weight: Tensor2D): Tensor2D {
		return add(weight, mul(matMul(this.lora_B as Tensor as Tensor2D, this.lora_A as Tensor as Tensor2D), this.options.scaling));
	}

	/**
	 * What is added to the frozen product.
	 * @param x [N, in] float32 or bfloat16
	 * @param dropoutSeed [1] int32 of the pass; absent: nothing is dropped
	 * @returns [N, out]
	 */
	project(x: Tensor2D, dropoutSeed?: Tensor1D): Tensor2D {
		const { scaling, dropout, index } = this.options;
		const wide = isBfloat16(x) ? (widen(x) as Tensor2D) : x;
		const kept = dropoutSeed && dropout > 0 ? drop(wide, dropout, dropoutSeed, index) : wide;
		return this.b.project(mul(this.a.project(kept), scaling));
	}
}

/** The gradient of what was rounded to bfloat16 comes in float32, as that of its products does. */
const widen = customGrad((x) => ({ value: toFloat32(x as Tensor), gradFunc: (dy: Tensor) => dy.clone() }));

function drop(x: Tensor2D, rate: number, seed: Tensor1D, index: number): Tensor2D {
	// After x: a layer that is computed again draws again, where a graph would otherwise keep the first draw.
	const mask = tidy(() => {
		const own = concat([runAfter(seed, [x]), tensor1d([index], "int32")]) as Tensor1D;
		return mul(cast(greaterEqual(statelessUniform(x.shape, own), rate), "float32"), 1 / (1 - rate));
	});
	return mul(x, mask);
}
