/**
 * Tensors on the native backend in types that TensorFlow.js has no name for: bfloat16 and int8.
 *
 * Such a tensor is an ordinary, tracked `Tensor` (tidy, keep, dispose and `memory().numTensors` count it) that *says* float32 or int32 and whose device
 * tensor is of the other type. Only functions that know of it may read it (bfloat16.ts, int8.ts): an ordinary op hands it to a kernel for the
 * type that it says, and TensorFlow refuses ("was expected to be a float tensor but is a bfloat16 tensor"); reading it on the host is refused too.
 * `memory().numBytes` counts it as what it says. Nothing has a gradient: callers bring theirs (nn/weight-matrix.ts).
 */
import { currentNativeBackend, type NativeBackend, type NativeOpAttr, type NativeTensor } from "./native-binding.js";
import { engine, scalar, type Tensor, type Tensor1D, type Tensor2D, tidy } from "./tf.js";

/** TensorFlow's numbers of types (tensorflow/core/framework/types.proto). */
export const TF_TYPE = { float: 1, int32: 3, uint8: 4, int8: 6, bfloat16: 14, half: 19 } as const;

/** What a tensor of the type says it is. */
const SAYS: Readonly<Record<number, "float32" | "int32">> = {
	[TF_TYPE.bfloat16]: "float32",
	[TF_TYPE.half]: "float32",
	[TF_TYPE.int8]: "int32",
};

/** Makes the backend's results in these types tensors as well; without it tfjs-node throws for them. */
export function trackNativeTypes(backend: NativeBackend): void {
	const createOutputTensor = backend.createOutputTensor.bind(backend);
	backend.createOutputTensor = (metadata: NativeTensor): Tensor => {
		const says = SAYS[metadata.dtype];
		if (!says) return createOutputTensor(metadata);
		const { id, shape, dtype } = metadata;
		const dataId = {};
		backend.tensorMap.set(dataId, { id, shape, dtype, values: null, refCount: 1 });
		return engine().makeTensorFromTensorInfo({ dataId, shape, dtype: says });
	};
}

/** TensorFlow's number of the type that the tensor, or the variable's value, has on the native backend; undefined on another. */
export function nativeTypeOf(tensor: Tensor): number | undefined {
	const map = currentNativeBackend()?.tensorMap;
	return map?.has(tensor.dataId) ? map.get(tensor.dataId).dtype : undefined;
}

/** Casts between types that only the native backend knows. The caller checks `from`: an eager Cast takes its input's own type for it, and a graph would be refused later. */
export function castNative(x: Tensor, from: number, to: number): Tensor {
	return executeNative("Cast", [typeAttr("SrcT", from), typeAttr("DstT", to), boolAttr("Truncate", false)], [x]);
}

/** Runs an op of one output. */
export function executeNative(op: string, attrs: NativeOpAttr[], inputs: readonly Tensor[]): Tensor {
	return executeNativeFor(1, op, attrs, inputs)[0];
}

/** Runs an op of so many outputs. */
export function executeNativeFor(outputs: number, op: string, attrs: NativeOpAttr[], inputs: readonly Tensor[]): Tensor[] {
	const backend = nativeBackend();
	return backend.binding
		.executeOp(op, attrs, backend.getInputTensorIds(inputs), outputs)
		.map((output) => backend.createOutputTensor(output));
}

/** Rows of a matrix of a type that only the native backend knows. @param ids int32 */
export function gatherNative(matrix: Tensor2D, ids: Tensor1D, tfType: number): Tensor2D {
	const attrs = [
		typeAttr("Tparams", tfType),
		typeAttr("Tindices", TF_TYPE.int32),
		typeAttr("Taxis", TF_TYPE.int32),
		intAttr("batch_dims", 0),
	];
	return tidy(() => executeNative("GatherV2", attrs, [matrix, ids, scalar(0, "int32")])) as Tensor2D;
}

export function typeAttr(name: string, value: number): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_TYPE, value };
}

export function boolAttr(name: string, value: boolean): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_BOOL, value };
}

export function intAttr(name: string, value: number): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_INT, value };
}

export function floatAttr(name: string, value: number): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_FLOAT, value };
}

/** @throws where another backend is current */
export function nativeBackend(): NativeBackend {
	const backend = currentNativeBackend();
	if (backend) return backend;
	throw new Error(
		'bfloat16, int8: only the native backend computes in them; run `npx tfjs-rft setup` and select "native-cpu", or use float32',
	);
}
