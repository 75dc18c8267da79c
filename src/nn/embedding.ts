import type { Tensor1D, Tensor2D } from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";
import type { WeightMatrix } from "./weight-matrix.js";

/** A row per token id. */
export class Embedding {
	/** [V, C] */
	private readonly weight: WeightMatrix;

	constructor(p: ParameterScope) {
		this.weight = p.matrix("weight");
	}

	/**
	 * @param ids [N] int32
	 * @returns [N, C]
	 */
	forward(ids: Tensor1D): Tensor2D {
		return this.weight.rows(ids);
	}
}
