/**
 * A tensor made from a typed array that the caller goes on using.
 *
 * `tensor(values)` keeps the very array it was given: the native backend uploads it at the first op that needs it and
 * the cpu backend never copies it. A loader that reads every weight into one buffer would then see all its
 * tensors change, and 1 × the weights would stay on the host. Here the values are copied before the call returns
 * (once, straight to where they stay), so the view's buffer is free again.
 */
import { currentNativeBackend } from "./native-binding.js";
import { getBackend, type Rank, type ShapeMap, type Tensor, tensor } from "./tf.js";

/**
 * Copies `view` into a new tensor of the current backend.
 *
 * @param view values in row-major order; any offset into any buffer; may be overwritten as soon as this returns
 * @param shape its product must be `view.length`
 * @returns a float32 or int32 tensor, after the view's type
 * @throws RangeError when the shape holds another number of values than the view
 */
export function tensorFromView<R extends Rank = Rank>(view: Float32Array | Int32Array, shape: ShapeMap[R]): Tensor<R> {
	const dims: number[] = shape;
	const size = dims.reduce((product, dim) => product * dim, 1);
	if (size !== view.length) {
		throw new RangeError(
			`tensorFromView: shape [${dims}] holds ${size} values but the view has ${view.length}; pass a view of that length`,
		);
	}
	const native = currentNativeBackend();
	if (native) {
		const { binding } = native;
		const dtype = view instanceof Float32Array ? binding.TF_FLOAT : binding.TF_INT32;
		// createTensor shares an aligned array's memory with TensorFlow and copies only an unaligned one; DeepCopy always copies.
		const shared = binding.createTensor(dims, dtype, view);
		const [copied] = binding.executeOp("DeepCopy", [{ name: "T", type: binding.TF_ATTR_TYPE, value: dtype }], [shared], 1);
		binding.deleteTensor(shared);
		return native.createOutputTensor(copied) as Tensor<R>;
	}
	const dtype = view instanceof Float32Array ? "float32" : "int32";
	// wasm's write() copies into its heap at once; any other backend may keep the array.
	const values = getBackend() === "wasm" ? view : view.slice();
	return tensor<R>(values, shape, dtype);
}
