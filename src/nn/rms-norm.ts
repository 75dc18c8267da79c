/**
 * Root mean square norm, y = w · x / √(mean(x²) + ε) (Zhang & Sennrich 2019; transformers Qwen2RMSNorm).
 * The gradient is written out: the tape would keep six intermediates per call and run twice the ops.
 */
import {
	add,
	customGrad,
	type GradSaveFunc,
	mean,
	mul,
	rsqrt,
	square,
	sub,
	sum,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	type Variable,
} from "../backend/tf.js";
import type { ParameterScope } from "./parameter-scope.js";

const forward = (eps: number) =>
	customGrad((...args) => {
		const [x, w, save] = args as unknown as [Tensor2D, Tensor1D, GradSaveFunc];
		const inverseRms = rsqrt(add(mean(square(x), -1, true), eps)); // [N, 1]
		save([x, w, inverseRms]);
		return {
			value: mul(mul(x, inverseRms), w),
			gradFunc: (dy: Tensor, saved: Tensor[]) => {
				const [x, w, r] = saved;
				const normed = mul(x, r); // [N, C]
				const dNormed = mul(dy, w);
				const projection = mean(mul(dNormed, normed), -1, true); // [N, 1]
				const dx = mul(sub(dNormed, mul(normed, projection)), r);
				const dw = sum(mul(dy, normed), 0);
				return [dx, dw];
			},
		};
	});

export class RmsNorm {
	private readonly weight: Variable;
	private readonly apply: ReturnType<typeof forward>;

	/** @param eps added to the mean square, e.g. 1e-6 */
	constructor(p: ParameterScope, eps: number) {
		this.weight = p.get("weight");
		this.apply = forward(eps);
	}

	/**
	 * @param x [N, C]
	 * @returns [N, C]
	 */
	forward(x: Tensor2D): Tensor2D {
		return this.apply(x, this.weight) as Tensor2D;
	}
}
