/** Activations with written-out gradients: one saved copy of the inputs instead of every intermediate. */
import { isBfloat16, toFloat32 } from "../backend/bfloat16.js";
import { fusedSwiglu, hasRowOps } from "../backend/row-ops.js";
import {
	add,
	customGrad,
	div,
	erf,
	exp,
	type GradSaveFunc,
	mul,
	neg,
	sigmoid,
	square,
	sub,
	type Tensor,
	type Tensor2D,
} from "../backend/tf.js";

const swigluOp = customGrad((...args) => {
	const [gate, up, save] = args as unknown as [Tensor, Tensor, GradSaveFunc];
	save([gate, up]);
	return {
		value: hasRowOps() ? fusedSwiglu(gate, up) : mul(mul(gate, sigmoid(gate)), up),
		gradFunc: (dy: Tensor, saved: Tensor[]) => {
			const [gate, up] = saved.map((x) => (isBfloat16(x) ? toFloat32(x) : x));
			const s = sigmoid(gate);
			const silu = mul(gate, s);
			// silu'(g) = s + silu · (1 − s)
			const slope = add(s, mul(silu, sub(1, s)));
			return [mul(mul(dy, up), slope), mul(dy, silu)];
		},
	};
});

/** silu(gate) · up, both [N, C] (Shazeer 2020); in bfloat16 where they are and the backend has row-ops.ts's. Gradients are float32. */
export function swiglu(gate: Tensor2D, up: Tensor2D): Tensor2D {
	return swigluOp(gate, up) as Tensor2D;
}

const geluOp = customGrad((...args) => {
	const [x, save] = args as unknown as [Tensor, GradSaveFunc];
	const cdf = mul(add(erf(div(x, Math.SQRT2)), 1), 0.5);
	save([x, cdf]);
	return {
		value: mul(x, cdf),
		gradFunc: (dy: Tensor, saved: Tensor[]) => {
			const [x, cdf] = saved;
			const pdf = div(exp(mul(neg(square(x)), 0.5)), Math.sqrt(2 * Math.PI));
			return mul(dy, add(cdf, mul(x, pdf)));
		},
	};
});

/** The exact (erf) GELU (Hendrycks & Gimpel 2016), not the tanh approximation. */
export function gelu(x: Tensor2D): Tensor2D {
	return geluOp(x) as Tensor2D;
}
