/**
 * The part of tfjs-node-gpu's addon and backend class that this library touches, as types.
 *
 * tfjs-node-gpu is an optional peer that may live outside node_modules (in setup's cache folder), so its own
 * declarations cannot be imported. Source: `binding/tfjs_binding.cc` and `dist/nodejs_kernel_backend.js`, 4.22; the functions marked optional
 * are `native/graph_functions.cc`'s, which a stock addon lacks.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs-core";
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
	readonly TF_ATTR_INT: number;
	readonly TF_ATTR_FLOAT: number;
	isUsingGpuDevice(): boolean;
	/**
	 * A tensor of `values` (from the view's own offset and length); returns its id. On the CPU it *shares* the array's memory where that is
	 * aligned: the array must not change while the tensor lives.
	 */
	createTensor(shape: readonly number[], dtype: number, values: NonNullable<NativeTensorData["values"]>): number;
	deleteTensor(id: number): void;
	tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
	executeOp(name: string, attrs: NativeOpAttr[], inputIds: number[], numOutputs: number): NativeTensor[];
	/** Tensors alive on the device. */
	getNumOfTensors(): number;
	/** Makes a graph a function of that name; `inputs` and `outputs` are `"node:index,node:index"`. Then `executeOp(name, [], ids, n)` runs it. */
	addFunction?(name: string, graphDef: Uint8Array, inputs: string, outputs: string): void;
	removeFunction?(name: string): void;
	/** Types and shapes of a node's first outputs, by TensorFlow's shape functions: a dimension is −1, a shape null, where it is not known. */
	inferOutputs?(graphDef: Uint8Array, node: string, outputCount: number): { dtype: number; shape: number[] | null }[];
	/** While a call is being recorded: the tensor `id` for those who are to run after `others` only. See graph/run-after.ts. */
	identityAfter?(id: number, dtype: number, others: readonly number[]): NativeTensor;
	/** `executeOp(name, [], ids, n)` on a thread of its own. The inputs may be deleted before it ends. */
	runAsync?(name: string, inputIds: number[], numOutputs: number): Promise<NativeTensor[]>;
	/** A tensor of `length` bytes of a file from byte `offset` on, mapped or read on a thread of libuv's pool. `dtype` is TensorFlow's number. */
	readTensor?(path: string, offset: number, length: number, dtype: number, shape: readonly number[]): Promise<NativeTensor>;
	/** Has the pages of tensors that `readTensor` mapped ready before they are touched, on a thread that nobody waits for. */
	populateMapped?(): void;
	/** Makes the context one of a cluster (a tensorflow.ServerDef) and starts this process's gRPC server; before the first tensor. */
	enableCollectives?(serverDef: Uint8Array): void;
	/** Ends collective ops under way, and all later ones, with an error of that text. */
	abortCollectives?(reason: string): void;
	/** The instruction set of the ops of native/row_ops.cc; empty where this processor has none for them, and no such ops. */
	readonly rowOpInstructions?: string;
}

/** What the backend keeps of a tensor. */
export interface NativeTensorData {
	id: number;
	shape: number[];
	dtype: number;
	/** Values not yet uploaded (`id` is −1 until then), else null. */
	values: Float32Array | Int32Array | Uint8Array | Uint8Array[] | null;
	/** TensorFlow.js tensors that share it. */
	refCount: number;
}

/** tfjs-node-gpu's `NodeJSKernelBackend`. */
export interface NativeBackend extends KernelBackend {
	readonly binding: NativeBinding;
	readonly tensorMap: {
		get(dataId: object): NativeTensorData;
		has(dataId: object): boolean;
		set(dataId: object, data: NativeTensorData): void;
	};
	/** The tensors' ids on the device, where their values are uploaded if they are not yet. */
	getInputTensorIds(tensors: readonly TensorInfo[]): number[];
	readonly isUsingGpuDevice: boolean;
	/** Wraps a device tensor as one that the engine tracks; disposing the result deletes the device tensor. */
	createOutputTensor(metadata: NativeTensor): Tensor;
}

/** The native backend if it is the current one, else undefined. */
export function currentNativeBackend(): NativeBackend | undefined {
	// The name is registered by native.ts alone, always with this class.
	return getBackend() === NATIVE_BACKEND ? (backend() as NativeBackend) : undefined;
}
