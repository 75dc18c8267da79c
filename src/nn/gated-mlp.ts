import type { Tensor1D, Tensor2D } from "../backend/tf.js";
import { swiglu } from "./activations.js";
import { Linear } from "./linear.js";
import type { ParameterScope } from "./parameter-scope.js";

/** down(silu(gate(x)) · up(x)), the feed-forward layer of Llama and Qwen (Shazeer 2020). */
export class GatedMlp {
	private readonly gate_proj: Linear;
	private readonly up_proj: Linear;
	private readonly down_proj: Linear;

	constructor(p: ParameterScope, { bias }: { bias: boolean }) {
		this.gate_proj = new Linear(p.scope("gate_proj"), { bias });
		this.up_proj = new Linear(p.scope("up_proj"), { bias });
		this.down_proj = new Linear(p.scope("down_proj"), { bias });
	}

	/**
	 * Where there is an op that reads them so, what is between the products stays in bfloat16.
	 * @param x [N, C] → [N, C]
	 * @param dropoutSeed [1] of adapters' dropout
	 */
	forward(x: Tensor2D, dropoutSeed?: Tensor1D): Tensor2D {
		const { gate_proj, up_proj, down_proj } = this;
		const projections = [gate_proj, up_proj];
		if (!projections.every((projection) => projection.isNarrow(x.shape[0]))) {
			return down_proj.forward(swiglu(gate_proj.forward(x, dropoutSeed), up_proj.forward(x, dropoutSeed)), dropoutSeed);
		}
		const biases = projections.flatMap(({ bias }) => bias ?? []);
		return down_proj.forward(swiglu(gate_proj.forwardNarrow(x), up_proj.forwardNarrow(x), biases), dropoutSeed);
	}
}
