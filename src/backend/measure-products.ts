/** How fast the backend multiplies large matrices, to estimate by how long other work will take. */
import { matMulBfloat16, toBfloat16, toFloat32 } from "./bfloat16.js";
import { matMul, randomNormal, type Tensor2D, tidy } from "./tf.js";

const SIDE = 1024;
const REPETITIONS = 5;

/**
 * A few products of 1024 × 1024, half a second at most on a slow processor; a backend must be selected (`selectBackend`).
 * @returns operations per second of the fastest: two for each product of two numbers that is added
 */
export async function measureProducts({ bfloat16 = false }: { bfloat16?: boolean } = {}): Promise<number> {
	const wide = randomNormal([SIDE, SIDE]) as Tensor2D;
	const matrix = bfloat16 ? toBfloat16(wide) : wide;
	const times: number[] = [];
	try {
		for (let i = 0; i < REPETITIONS; i++) {
			const started = performance.now();
			const product = tidy(() => (bfloat16 ? toFloat32(matMulBfloat16(matrix, matrix)) : matMul(matrix, matrix)));
			await product.data();
			product.dispose();
			times.push(performance.now() - started);
		}
	} finally {
		wide.dispose();
		if (bfloat16) matrix.dispose();
	}
	return (2 * SIDE ** 3) / (Math.min(...times) / 1000);
}
