/**
 * bfloat16 on the native backend: the upper half of a float32, half the bytes, and matrix products that modern CPUs and GPUs compute faster.
 *
 * TensorFlow.js has no such type. A bfloat16 tensor is therefore an ordinary, tracked `Tensor` (tidy, keep, dispose and `memory().numTensors` count
 * it) that *says* float32 and whose device tensor is TensorFlow's DT_BFLOAT16. Only the functions here read it: an ordinary op hands it to a
 * float32 kernel, and TensorFlow refuses ("was expected to be a float tensor but is a bfloat16 tensor"); reading it on the host is refused too.
 * `memory().numBytes` counts it as float32, twice what it is. Nothing here has a gradient: callers bring theirs (nn/weight-matrix.ts).
 *
 * Each product is accumulated in float32 and rounded once, to nearest even, as torch's.
 */
import { currentNativeBackend, type NativeBackend, type NativeOpAttr, type NativeTensor } from "./native-binding.js";
import { engine, scalar, type Tensor, type Tensor1D, type Tensor2D, tensor1d, tidy } from "./tf.js";

// TensorFlow's numbers of types (tensorflow/core/framework/types.proto).
const FLOAT = 1;
const INT32 = 3;
const UINT8 = 4;
const BFLOAT16 = 14;

/** Makes the backend's results in bfloat16 tensors as well; without it tfjs-node throws for them. */
export function trackBfloat16(backend: NativeBackend): void {
	const createOutputTensor = backend.createOutputTensor.bind(backend);
	backend.createOutputTensor = (metadata: NativeTensor): Tensor => {
		if (metadata.dtype !== BFLOAT16) return createOutputTensor(metadata);
		const { id, shape, dtype } = metadata;
		const dataId = {};
		backend.tensorMap.set(dataId, { id, shape, dtype, values: null, refCount: 1 });
		return engine().makeTensorFromTensorInfo({ dataId, shape, dtype: "float32" });
	};
}

/** Whether the tensor, or the variable's value, is in bfloat16. */
export function isBfloat16(tensor: Tensor): boolean {
	const map = currentNativeBackend()?.tensorMap;
	return map?.has(tensor.dataId) === true && map.get(tensor.dataId).dtype === BFLOAT16;
}

/** Rounds a float32 tensor to nearest even. */
export function toBfloat16<T extends Tensor>(x: T): T {
	return cast(x, FLOAT, BFLOAT16) as T;
}

/** Widens a bfloat16 tensor; exact. */
export function toFloat32<T extends Tensor>(x: T): T {
	return cast(x, BFLOAT16, FLOAT) as T;
}

/**
 * A bfloat16 tensor of a safetensors file's bytes, never widened. The bytes are copied before this returns.
 *
 * @param bytes little-endian, two per element
 */
export function bfloat16FromBytes(bytes: Uint8Array, shape: readonly number[]): Tensor {
	const { binding } = nativeBackend();
	const halves = binding.createTensor([...shape, 2], UINT8, bytes);
	const [bits] = binding.executeOp("Bitcast", [type("T", UINT8), type("type", BFLOAT16)], [halves], 1);
	// Both share the array's memory on the CPU; DeepCopy always copies.
	const [copy] = binding.executeOp("DeepCopy", [type("T", BFLOAT16)], [bits.id], 1);
	binding.deleteTensor(halves);
	binding.deleteTensor(bits.id);
	return nativeBackend().createOutputTensor(copy);
}

/** A bfloat16 tensor in another shape. */
export function reshapeBfloat16(x: Tensor, shape: readonly number[]): Tensor {
	return tidy(() => execute("Reshape", [type("T", BFLOAT16), type("Tshape", INT32)], [x, tensor1d([...shape], "int32")]));
}

/** Product of two bfloat16 matrices, in bfloat16; each may be taken transposed. */
export function matMulBfloat16(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
	return execute("MatMul", [type("T", BFLOAT16), flag("transpose_a", transposeA), flag("transpose_b", transposeB)], [a, b]) as Tensor2D;
}

/** Rows of a bfloat16 matrix, in bfloat16. @param ids int32 */
export function gatherBfloat16(matrix: Tensor2D, ids: Tensor1D): Tensor2D {
	const attrs = [
		type("Tparams", BFLOAT16),
		type("Tindices", INT32),
		type("Taxis", INT32),
		{ name: "batch_dims", type: nativeBackend().binding.TF_ATTR_INT, value: 0 },
	];
	return tidy(() => execute("GatherV2", attrs, [matrix, ids, scalar(0, "int32")])) as Tensor2D;
}

/** Checked here: an eager Cast takes its input's own type for the attribute's, and a graph would be refused later. */
function cast(x: Tensor, from: number, to: number): Tensor {
	if (isBfloat16(x) !== (from === BFLOAT16)) {
		const [expected, got] = from === BFLOAT16 ? ["bfloat16", "float32"] : ["float32", "bfloat16"];
		throw new TypeError(`bfloat16: expected a ${expected} tensor, got one in ${got}, of shape [${x.shape}]; leave the conversion out`);
	}
	return execute("Cast", [type("SrcT", from), type("DstT", to), flag("Truncate", false)], [x]);
}

function execute(op: string, attrs: NativeOpAttr[], inputs: readonly Tensor[]): Tensor {
	const backend = nativeBackend();
	const [output] = backend.binding.executeOp(op, attrs, backend.getInputTensorIds(inputs), 1);
	return backend.createOutputTensor(output);
}

function type(name: string, value: number): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_TYPE, value };
}

function flag(name: string, value: boolean): NativeOpAttr {
	return { name, type: nativeBackend().binding.TF_ATTR_BOOL, value };
}

/** @throws where no kernel of bfloat16 is */
function nativeBackend(): NativeBackend {
	const backend = currentNativeBackend();
	if (backend) return backend;
	throw new Error('bfloat16: only the native backend computes in it; run `npx tfjs-rft setup` and select "native-cpu", or use float32');
}
