import { add, type Tensor1D, type Tensor2D, type Variable } from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";
import type { WeightMatrix } from "./weight-matrix.js";

/** y = x Wᵀ + b, with W [out, in] as PyTorch stores it. */
export class Linear {
	private readonly weight: WeightMatrix;
	private readonly bias?: Variable;

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
		const y = this.weight.project(x, dropoutSeed);
		return this.bias ? add(y, this.bias) : y;
	}

	/** Whether `forwardNarrow` can be called for so many rows of x. */
	isNarrow(rows: number): boolean {
		return !this.bias && this.weight.isNarrow(rows);
	}

	/** As `forward`, and the result is left in bfloat16. */
	forwardNarrow(x: Tensor2D): Tensor2D {
		return this.weight.projectNarrow(x);
	}
}
