/**
 * State that is updated in place and shared by eager code and all compiled functions: a KV cache, running sums.
 *
 * A `tf.Variable` is another device tensor after each `assign`; here the buffer stays and a slice of it is written, at a place that is itself a
 * tensor, so that one graph writes at any position. What a reader would get wrong: `read()` shares the buffer, and a write while
 * what was read is alive copies the whole buffer first (the reader keeps the old values), so let it go before the next write.
 * The device's variable is TensorFlow's own (VarHandleOp, ReadVariableOp, ResourceStridedSliceAssign, DisableCopyOnRead). Without the native backend an ordinary tensor is
 * replaced at each write: the same results, not in place.
 */
import { currentNativeBackend, type NativeBackend, type NativeOpAttr } from "../native-binding.js";
import { concat, type DataType, fill, keep, slice, Tensor, type Tensor1D, tensor1d } from "../tf.js";
import { intAttr, shapeAttr, stringAttr, typeAttr } from "./graph-def.js";
import { resourceShapes } from "./resource-shapes.js";

/** TensorFlow's name for a resource without one: it lives as long as its handle (ResourceHandle::ANONYMOUS_NAME). */
const ANONYMOUS = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";

/** Where a variable's values are. */
interface State {
	readonly handle?: Tensor;
	read(): Tensor;
	assign(value: Tensor): void;
	/** @param whole axes that are taken whole: bit i for axis i */
	assignSlice(begin: Tensor1D, end: Tensor1D, value: Tensor, whole: number): void;
	dispose(): void;
}

export class ResourceVariable {
	readonly shape: readonly number[];
	readonly dtype: DataType;
	private state: State | undefined;

	/**
	 * @param initial a shape, for zeros, or a tensor
	 * @param dtype of the zeros. Default float32
	 * @param options.takeOver the tensor is not copied but disposed. Only for the result of an op: one made of a JavaScript array may share its memory, and a
	 *   write in place would go there. Default false
	 * @throws CaptureError inside a compiled function
	 */
	constructor(initial: readonly number[] | Tensor, dtype: DataType = "float32", { takeOver = false } = {}) {
		const given = initial instanceof Tensor;
		const backend = currentNativeBackend();
		this.shape = given ? initial.shape : [...initial];
		this.dtype = given ? initial.dtype : dtype;
		const first = given ? initial : fill([...initial], 0, dtype as "float32");
		try {
			this.state = backend ? new DeviceState(backend, first, { copy: given && !takeOver }) : new TensorState(first);
		} finally {
			if (!given || takeOver) first.dispose();
		}
	}

	get isDisposed(): boolean {
		return this.state === undefined;
	}

	/** The device's name for the variable, as a tensor that stays the variable's own; undefined without the native backend. */
	get handle(): Tensor | undefined {
		return this.alive.handle;
	}

	/** The values now; the caller's to dispose. They stay what they are when the variable is written. */
	read(): Tensor {
		return this.alive.read();
	}

	/**
	 * Replaces all values, by a copy.
	 * @throws TypeError for another shape or type
	 */
	assign(value: Tensor): void {
		this.checkType(value, "assign");
		if (`${value.shape}` !== `${this.shape}`) {
			throw new TypeError(`ResourceVariable.assign: the value has shape [${value.shape}]; expected [${this.shape}]`);
		}
		this.alive.assign(value);
	}

	/**
	 * Writes `value` to the places from `begin` to before `end`. TensorFlow refuses a value of another shape than theirs, so also
	 * places beyond the variable's shape.
	 *
	 * @param begin [rank] int32
	 * @param end [rank] int32
	 * @param axes those for which `begin` and `end` count; others are taken whole. Default all
	 * @throws TypeError for another type, or where `begin` and `end` are no int32 of that size
	 */
	assignSlice(begin: Tensor1D, end: Tensor1D, value: Tensor, axes?: readonly number[]): void {
		const rank = this.shape.length;
		this.checkType(value, "assignSlice");
		for (const [name, place] of Object.entries({ begin, end })) {
			if (place.dtype === "int32" && place.size === rank && place.rank === 1) continue;
			throw new TypeError(`ResourceVariable.assignSlice: ${name} is ${place.dtype} [${place.shape}]; expected int32 [${rank}]`);
		}
		const whole = axes ? this.shape.reduce((bits, _, axis) => (axes.includes(axis) ? bits : bits | (1 << axis)), 0) : 0;
		this.alive.assignSlice(begin, end, value, whole);
	}

	/** Frees the values, once what was read is disposed as well. A compiled function that uses the variable throws from then on. */
	dispose(): void {
		this.state?.dispose();
		this.state = undefined;
	}

	private get alive(): State {
		if (this.state) return this.state;
		throw new Error(`ResourceVariable: this variable of shape [${this.shape}] is disposed; make a new one`);
	}

	private checkType(value: Tensor, method: string): void {
		if (value.dtype === this.dtype) return;
		throw new TypeError(`ResourceVariable.${method}: the value is ${value.dtype}; expected ${this.dtype}; cast it`);
	}
}

/** A resource of the device. Its handle is a tensor as well, so that compiled functions take it as an input. */
class DeviceState implements State {
	readonly handle: Tensor;
	/** TensorFlow's number of the values' type. */
	private readonly dtype: number;

	constructor(
		private readonly backend: NativeBackend,
		initial: Tensor,
		{ copy }: { copy: boolean },
	) {
		backend.getInputTensorIds([initial]);
		this.dtype = backend.tensorMap.get(initial.dataId).dtype;
		const attrs = [stringAttr("container", ""), stringAttr("shared_name", ANONYMOUS), typeAttr("dtype", this.dtype)];
		this.handle = keep(this.run("VarHandleOp", [...attrs, shapeAttr("shape", initial.shape)], [], 1)[0]);
		resourceShapes.set(this.handle.dataId, initial.shape);
		if (copy) this.assign(initial);
		else this.take(initial);
	}

	read(): Tensor {
		return this.run("ReadVariableOp", [typeAttr("dtype", this.dtype)], [this.handle], 1)[0];
	}

	assign(value: Tensor): void {
		// A tensor may share the memory of a JavaScript array or of another tensor: what is written in place must be the variable's own.
		const [own] = this.run("DeepCopy", [typeAttr("T", this.dtype)], [value], 1);
		this.take(own);
		own.dispose();
	}

	private take(value: Tensor): void {
		this.run("AssignVariableOp", [typeAttr("dtype", this.dtype)], [this.handle, value], 0);
	}

	assignSlice(begin: Tensor1D, end: Tensor1D, value: Tensor, whole: number): void {
		const strides = tensor1d(new Int32Array(begin.size).fill(1), "int32");
		const masks = Object.entries({ begin_mask: whole, end_mask: whole, ellipsis_mask: 0, new_axis_mask: 0, shrink_axis_mask: 0 });
		const types = [typeAttr("T", this.dtype), typeAttr("Index", this.backend.binding.TF_INT32)];
		const attrs = [...types, ...masks.map(([name, mask]) => intAttr(name, mask))];
		this.run("ResourceStridedSliceAssign", attrs, [this.handle, begin, end, strides, value], 0);
		strides.dispose();
		// From a slice's write on TensorFlow copies the whole variable at each read; without that, a write copies it where a reader still holds it.
		this.run("DisableCopyOnRead", [], [this.handle], 0);
	}

	dispose(): void {
		this.handle.dispose();
	}

	private run(op: string, attrs: NativeOpAttr[], inputs: Tensor[], count: number): Tensor[] {
		const outputs = this.backend.binding.executeOp(op, attrs, this.backend.getInputTensorIds(inputs), count);
		return outputs.map((output) => this.backend.createOutputTensor(output));
	}
}

/** An ordinary tensor, for backends without resources. */
class TensorState implements State {
	private values: Tensor;

	constructor(initial: Tensor) {
		this.values = keep(initial.clone());
	}

	read(): Tensor {
		return this.values.clone();
	}

	assign(value: Tensor): void {
		this.replace(value.clone());
	}

	assignSlice(begin: Tensor1D, end: Tensor1D, value: Tensor, whole: number): void {
		const { shape } = this.values;
		const isWhole = (axis: number) => (whole & (1 << axis)) !== 0;
		const [begins, ends] = [begin.dataSync(), end.dataSync()];
		const from = shape.map((_, axis) => (isWhole(axis) ? 0 : begins[axis]));
		const to = shape.map((size, axis) => (isWhole(axis) ? size : ends[axis]));
		if (`${to.map((last, axis) => last - from[axis])}` !== `${value.shape}` || to.some((last, axis) => last > shape[axis])) {
			const got = `[${value.shape}] for the places [${from}] to [${to}] of [${shape}]`;
			throw new Error(`ResourceVariable.assignSlice: the value has shape ${got}; expected the shape of these places`);
		}
		this.replace(replaceBox(this.values, from, to, value));
	}

	dispose(): void {
		this.values.dispose();
	}

	private replace(values: Tensor): void {
		this.values.dispose();
		this.values = keep(values);
	}
}

/** `values` with the box from `from` to before `to` replaced: grown by what lies before and after it, the last axis first. */
function replaceBox(values: Tensor, from: readonly number[], to: readonly number[], box: Tensor): Tensor {
	let grown = box.clone();
	for (let axis = values.rank - 1; axis >= 0; axis--) {
		const beside = (first: number, last: number) => {
			const begin = from.map((at, i) => (i < axis ? at : i === axis ? first : 0));
			const size = values.shape.map((all, i) => (i < axis ? to[i] - from[i] : i === axis ? last - first : all));
			return slice(values, begin, size);
		};
		const parts = [beside(0, from[axis]), grown, beside(to[axis], values.shape[axis])];
		grown = concat(
			parts.filter(({ size }) => size > 0),
			axis,
		);
		for (const part of parts) part.dispose();
	}
	return grown;
}
