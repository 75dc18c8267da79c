/**
 * Random numbers that are a function of a seed tensor alone (Salmon et al. 2011; `tf.random.stateless_uniform`): in a graph the seed is an input, so that one
 * graph draws anew in every step, the same again where a layer is computed again, and the same after resuming.
 */
import { mixBits } from "./mix-bits.js";
import { currentNativeBackend } from "./native-binding.js";
import { executeNative, TF_TYPE, typeAttr } from "./native-types.js";
import { type Tensor, type Tensor1D, type Tensor2D, tensor1d, tensor2d, tidy } from "./tf.js";

/**
 * Uniform in [0, 1). On the native backend drawn on the device, elsewhere on the host: other numbers, but the same each time.
 * @param seed [2] int32
 */
export function statelessUniform(shape: [number, number], seed: Tensor1D): Tensor2D {
	if (!currentNativeBackend()) return drawOnHost(shape, seed);
	const attrs = [typeAttr("dtype", TF_TYPE.float), typeAttr("Tseed", TF_TYPE.int32), typeAttr("T", TF_TYPE.int32)];
	return tidy(() => executeNative("StatelessRandomUniform", attrs, [tensor1d(shape, "int32"), seed])) as Tensor2D;
}

function drawOnHost([rows, columns]: [number, number], seed: Tensor): Tensor2D {
	const [first, second] = seed.dataSync();
	const start = mixBits(mixBits(first) ^ second);
	const values = Float32Array.from({ length: rows * columns }, (_, i) => (mixBits(start + Math.imul(i, 0x9e3779b9)) >>> 8) / 2 ** 24);
	return tensor2d(values, [rows, columns]);
}
