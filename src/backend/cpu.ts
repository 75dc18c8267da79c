import { backend, setBackend } from "./tf.js";

/** Makes TensorFlow.js's plain JavaScript kernels current: the slowest backend, for tests and as the last resort. */
export async function useCpu(): Promise<void> {
	await setBackend("cpu");
	// MathBackendCPU advertises tfjs-node on its first use in Node, unless it thinks that it has done so.
	(backend() as unknown as { firstUse: boolean }).firstUse = false;
}
