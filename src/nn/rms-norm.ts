/**
 * Root mean square norm, y = w · x / √(mean(x²) + ε) (Zhang & Sennrich 2019; transformers Qwen2RMSNorm).
 * The gradient is written out: the tape would keep six intermediates per call and run twice the ops.
 */
import { toBfloat16 } from "../backend/bfloat16.js";
import { fusedRmsNorm, hasRowOps, isFewRows } from "../backend/row-ops.js";
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

/** @returns w · x / √(mean(x²) + ε) [N, C], and 1 / √(mean(x²) + ε) [N, 1] */
function norm(x: Tensor2D, w: Tensor1D, eps: number, narrow: boolean): [Tensor2D, Tensor2D] {
	if (hasRowOps()) return fusedRmsNorm(x, w, eps, narrow);
	const inverseRms = rsqrt(add(mean(square(x), -1, true), eps)) as Tensor2D;
	const y = mul(mul(x, inverseRms), w) as Tensor2D;
	return [narrow ? toBfloat16(y) : y, inverseRms];
}

const forward = (eps: number, narrow: boolean) =>
	customGrad((...args) => {
		const [x, w, save] = args as unknown as [Tensor2D, Tensor1D, GradSaveFunc];
		const [value, inverseRms] = norm(x, w, eps, narrow);
		save([x, w, inverseRms]);
		return {
			value,
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
	private readonly apply: Record<"wide" | "narrow", ReturnType<typeof forward>>;
	private readonly bfloat16: boolean;

	/** @param eps added to the mean square, e.g. 1e-6 */
	constructor(p: ParameterScope, eps: number) {
		this.weight = p.get("weight");
		this.bfloat16 = p.bfloat16;
		this.apply = { wide: forward(eps, false), narrow: forward(eps, true) };
	}

	/**
	 * @param x [N, C]
	 * @returns [N, C]
	 */
	forward(x: Tensor2D): Tensor2D {
		return this.apply.wide(x, this.weight) as Tensor2D;
	}

	/**
	 * For products alone: in what `WeightMatrix` takes without another rounding.
	 * @param x [N, C]
	 * @returns [N, C], in bfloat16 where the model multiplies in that
	 */
	forProducts(x: Tensor2D): Tensor2D {
		return this.apply[this.bfloat16 && !isFewRows(x.shape[0]) ? "narrow" : "wide"](x, this.weight) as Tensor2D;
	}
}
