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
	sum,
	type Tensor,
	type Tensor2D,
} from "../backend/tf.js";

const swigluOp = customGrad((...args) => {
	const [gate, up] = args as Tensor2D[];
	const biases = args.slice(2, -1) as Tensor[];
	const save = args[args.length - 1] as unknown as GradSaveFunc;
	save([gate, up, ...biases]);
	return {
		value: hasRowOps() ? fusedSwiglu(gate, up, biases) : multiplied(biased(gate, biases[0]), biased(up, biases[1])),
		gradFunc: (dy: Tensor, [gate, up, ...biases]: Tensor[]) => {
			const gradients = swigluGradient(dy, biased(wide(gate), biases[0]), biased(wide(up), biases[1]));
			return biases.length > 0 ? [...gradients, ...gradients.map((gradient) => sum(gradient, 0))] : gradients;
		},
	};
});

const wide = (x: Tensor) => (isBfloat16(x) ? toFloat32(x) : x);
const biased = (x: Tensor, bias: Tensor | undefined) => (bias ? add(x, bias) : x);
const multiplied = (gate: Tensor, up: Tensor) => mul(mul(gate, sigmoid(gate)), up);

function swigluGradient(dy: Tensor, gate: Tensor, up: Tensor): Tensor[] {
	const s = sigmoid(gate);
	const silu = mul(gate, s);
	// silu'(g) = s + silu · (1 − s)
	const slope = add(s, mul(silu, sub(1, s)));
	return [mul(mul(dy, up), slope), mul(dy, silu)];
}

/**
 * silu(gate) · up (Shazeer 2020); in bfloat16 where they are and the backend has row-ops.ts's. Gradients are float32.
 * @param gate [N, C]
 * @param up [N, C]
 * @param biases [C] each, that are still to be added to gate and up; or none
 */
export function swiglu(gate: Tensor2D, up: Tensor2D, biases: readonly Tensor[] = []): Tensor2D {
	return swigluOp(gate, up, ...biases) as Tensor2D;
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
