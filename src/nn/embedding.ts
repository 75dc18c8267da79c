import {
	customGrad,
	type GradSaveFunc,
	gather,
	reshape,
	scatterND,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	type Variable,
} from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";

/** A row per token id. Its gradient adds up by `scatterND`, which every backend has (gather's own does not exist on wasm). */
export class Embedding {
	/** [V, C] */
	readonly weight: Variable;

	constructor(p: ParameterScope) {
		this.weight = p.get("weight");
	}

	/**
	 * @param ids [N] int32
	 * @returns [N, C]
	 */
	forward(ids: Tensor1D): Tensor2D {
		const shape = this.weight.shape as [number, number];
		const op = customGrad((...args) => {
			const [weight, save] = args as unknown as [Tensor2D, GradSaveFunc];
			save([ids]);
			return {
				value: gather(weight, ids),
				gradFunc: (dy: Tensor, saved: Tensor[]) => scatterND(reshape(saved[0], [-1, 1]), dy, shape),
			};
		});
		return op(this.weight) as Tensor2D;
	}
}
