import { add, matMul, reshape, type Tensor, type Tensor2D, type Variable } from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";

/** y = x Wᵀ + b, with W [out, in] as PyTorch stores it. */
export class Linear {
	private readonly weight: Variable;
	private readonly bias?: Variable;

	constructor(p: ParameterScope, { bias }: { bias: boolean }) {
		this.weight = p.get("weight");
		if (bias) this.bias = p.get("bias");
	}

	/**
	 * @param x [N, in]
	 * @returns [N, out]
	 */
	forward(x: Tensor2D): Tensor2D {
		// A convolution whose kernel equals its stride (patch embedding) is stored [out, C, t, p, p]: the same matrix.
		const weight: Tensor = this.weight.rank === 2 ? this.weight : reshape(this.weight, [this.weight.shape[0], -1]);
		const y: Tensor2D = matMul(x, weight as Tensor2D, false, true);
		return this.bias ? add(y, this.bias) : y;
	}
}
