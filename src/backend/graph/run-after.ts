import { currentNativeBackend } from "../native-binding.js";
import type { Tensor } from "../tf.js";

/**
 * The same tensor, but whatever reads it runs when `others` are there.
 *
 * An eager op runs when it is called, and then this is `x.clone()`. In a graph only inputs decide: TensorFlow may run an op long before
 * its result is needed, and takes equal ops on equal inputs for one. Memory that is to be free in between needs this order to be said. Has no gradient.
 *
 * @returns the caller's to dispose
 */
export function runAfter<T extends Tensor>(x: T, others: readonly Tensor[]): T {
	const backend = currentNativeBackend();
	if (!backend?.binding.identityAfter) return x.clone();
	const [id, ...after] = backend.getInputTensorIds([x, ...others]);
	return backend.createOutputTensor(backend.binding.identityAfter(id, backend.tensorMap.get(x.dataId).dtype, after)) as T;
}
