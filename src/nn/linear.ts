import { add, type Tensor1D, type Tensor2D, type Variable } from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";
import { type WeightMatrix, widenBias } from "./weight-matrix.js";

/** y = x Wᵀ + b, with W [out, in] as PyTorch stores it. */
export class Linear {
	readonly bias?: Variable;
	private readonly weight: WeightMatrix;

	constructor(p: ParameterScope, { bias }: { bias: boolean }) {
		this.weight = p.matrix("weight");
		if (bias) this.bias = p.get("bias");
	}

	/**
	 * @param x [N, in]
	 * @param dropoutSeed [1] of an adapter's dropout; absent: nothing is dropped
	 * @returns [N, out]
	 */
	forward(x: Tensor2D, dropoutSeed?: Tensor1D): Tensor2D {
		const { bias, weight } = this;
		if (!bias) return weight.project(x, dropoutSeed);
		return weight.isNarrow(x.shape[0]) ? widenBias(weight.projectNarrow(x), bias) : add(weight.project(x, dropoutSeed), bias);
	}

	/** Whether `forwardNarrow` can be called for so many rows of x. */
	isNarrow(rows: number): boolean {
		return this.weight.isNarrow(rows);
	}

	/** As `forward` but without the bias, and the result is left in bfloat16. */
	forwardNarrow(x: Tensor2D): Tensor2D {
		return this.weight.projectNarrow(x);
	}
}
