/** Peak memory, in MB, of the gradient of 40 layers in a captured graph; with the argument `checkpoint`, of checkpointed ones. */
import { compile } from "../../src/backend/graph/compile.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import {
	add,
	matMul,
	type Scalar,
	square,
	sum,
	type Tensor2D,
	tanh,
	tensor2d,
	type Variable,
	variable,
	variableGrads,
} from "../../src/backend/tf.js";
import { gradientCheckpoint } from "../../src/nn/gradient-checkpoint.js";

const [ROWS, WIDTH, LAYERS] = [2048, 512, 40];
await selectBackend("native-cpu");
const values = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i) / WIDTH);
const weights = Array.from({ length: LAYERS }, () => variable(tensor2d(values(WIDTH * WIDTH), [WIDTH, WIDTH])));
const layer = (x: Tensor2D, weight: Variable): Tensor2D =>
	add(x, tanh(matMul(tanh(matMul(x, weight as Tensor2D & Variable)), weight as Tensor2D & Variable)));
const checkpointed = process.argv[2] === "checkpoint";
const gradients = compile(
	(x: Tensor2D) => {
		const loss = () => {
			let y = x;
			for (const weight of weights) {
				y = checkpointed ? gradientCheckpoint((x) => layer(x, weight), y, [], [weight]) : layer(y, weight);
			}
			return sum(square(y)) as Scalar;
		};
		return variableGrads(loss, weights);
	},
	{ trace: true },
);
const x = tensor2d(values(ROWS * WIDTH), [ROWS, WIDTH]);
const before = process.resourceUsage().maxRSS;
const { value, grads } = gradients(x);
const first = Object.values(grads)[0];
const checksum = (sum(square(first)).dataSync()[0] / value.dataSync()[0]).toPrecision(4);
console.log(JSON.stringify({ megabytes: (process.resourceUsage().maxRSS - before) / 1024, checksum }));
