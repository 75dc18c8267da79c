/** Tensors of a file, mapped or read on libuv's threads straight to where they stay (native/read_tensor.h): the native CPU backend's way to load weights. */
import { currentNativeBackend } from "./native-binding.js";
import { castNative, nativeBackend, TF_TYPE } from "./native-types.js";
import type { Tensor } from "./tf.js";

/** As safetensors spells them. */
const TYPES: Readonly<Record<string, number>> = { F32: TF_TYPE.float, BF16: TF_TYPE.bfloat16, F16: TF_TYPE.half };

/** Where a tensor lies. */
export interface StoredTensor {
	file: string;
	/** Bytes from the start of the file. */
	offset: number;
	/** Bytes. */
	length: number;
	/** `F32`, `BF16` or `F16`. */
	dtype: string;
	shape: readonly number[];
}

/** Whether `readTensor` can be called. On a GPU, weights go through the host. */
export function canReadTensors(): boolean {
	const backend = currentNativeBackend();
	return backend?.binding.readTensor !== undefined && !backend.isUsingGpuDevice;
}

/**
 * @returns a bfloat16 tensor of BF16, else a float32 one
 * @throws Error for another type, where the file can't be read or ends early
 */
export async function readTensor({ file, offset, length, dtype, shape }: StoredTensor): Promise<Tensor> {
	const type = TYPES[dtype];
	if (type === undefined) throw new Error(`${file}: a tensor of type ${dtype}; expected one of ${Object.keys(TYPES).join(", ")}`);
	const backend = nativeBackend();
	const read = backend.binding.readTensor?.(file, offset, length, type, shape);
	if (!read) throw new Error(`${file}: this addon cannot read tensors; \`npx tfjs-rft setup\` compiles one that can`);
	const tensor = backend.createOutputTensor(await read);
	if (type !== TF_TYPE.half) return tensor;
	const wide = castNative(tensor, type, TF_TYPE.float);
	tensor.dispose();
	return wide;
}

/** After the last of many `readTensor`: the operating system gets their pages ready while the program goes on. Without it, computing is interrupted for each. */
export function populateMappedTensors(): void {
	currentNativeBackend()?.binding.populateMapped?.();
}
