/**
 * The part of tfjs-node-gpu's addon and backend class that this library touches, as types.
 *
 * tfjs-node-gpu is an optional peer that may live outside node_modules (in setup's cache folder), so its own
 * declarations cannot be imported. Source: `binding/tfjs_binding.cc` and `dist/nodejs_kernel_backend.js`, 4.22.
 */
import type { Tensor } from "@tensorflow/tfjs-core";
import { backend, getBackend, type KernelBackend } from "./tf.js";

/** The name under which the native backend is registered with TensorFlow.js. */
export const NATIVE_BACKEND = "tensorflow";

/** A tensor on the device, as the addon names it. `dtype` is TensorFlow's number (`TF_FLOAT` = 1). */
export interface NativeTensor {
	id: number;
	shape: number[];
	dtype: number;
}

/** One attribute of an op; `type` is one of the addon's `TF_ATTR_*` numbers. */
export interface NativeOpAttr {
	name: string;
	type: number;
	value: unknown;
}

/** The addon's functions and constants. Its properties are read-only. */
export interface NativeBinding {
	readonly TF_Version: string;
	readonly TF_FLOAT: number;
	readonly TF_INT32: number;
	readonly TF_ATTR_TYPE: number;
	readonly TF_ATTR_BOOL: number;
	isUsingGpuDevice(): boolean;
	/**
	 * A tensor of `values` (from the view's own offset and length); returns its id. On the CPU it *shares* the array's memory where that is
	 * aligned: the array must not change while the tensor lives.
	 */
	createTensor(shape: readonly number[], dtype: number, values: Float32Array | Int32Array | Uint8Array): number;
	deleteTensor(id: number): void;
	tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
	executeOp(name: string, attrs: NativeOpAttr[], inputIds: number[], numOutputs: number): NativeTensor[];
}

/** tfjs-node-gpu's `NodeJSKernelBackend`. */
export interface NativeBackend extends KernelBackend {
	readonly binding: NativeBinding;
	readonly isUsingGpuDevice: boolean;
	/** Wraps a device tensor as one that the engine tracks; disposing the result deletes the device tensor. */
	createOutputTensor(metadata: NativeTensor): Tensor;
}

/** The native backend if it is the current one, else undefined. */
export function currentNativeBackend(): NativeBackend | undefined {
	// The name is registered by native.ts alone, always with this class.
	return getBackend() === NATIVE_BACKEND ? (backend() as NativeBackend) : undefined;
}
