/**
 * Runs a function eagerly while every native op is written down as a node of a graph.
 *
 * Ops reach the device through the addon's `createTensor` and `executeOp` alone, so those are intercepted (the addon's properties are
 * read-only: an object that inherits from it takes its place), and with them what cannot be part of a graph: reading a result on the host, and
 * chance. A device tensor is known by its id, which the addon never gives twice. Where an id comes from decides what it is in the graph:
 * - the result of an op here: that node;
 * - host values made here: `Const`; from 64 KiB on `Fill` if they are all equal, else a device tensor that the graph keeps as an input;
 * - anything older: an input that is read at each call, a variable by its current value, a resource (resource-variable.ts) by its handle.
 * Gradients and optimizers need nothing of their own: they are ops too. A variable that has another value afterwards is one more output.
 */
import type { NativeBackend, NativeBinding, NativeOpAttr, NativeTensor } from "../native-binding.js";
import { engine, type Tensor, type TensorInfo, Variable } from "../tf.js";
import { callInScope } from "./call-in-scope.js";
import { CaptureError } from "./capture-error.js";
import { GraphBuilder, type InputKind } from "./graph-builder.js";
import { type ConstantTensor, typeAttr } from "./graph-def.js";
import { ResourceOrder } from "./resource-order.js";
import { resourceShapes } from "./resource-shapes.js";
import { type Arguments, type ResultStructure, replaceTensors } from "./tensor-structure.js";
import { OpTracer } from "./trace-ops.js";

/** Host values of this many bytes are not written into the graph. */
const LARGE_CONSTANT_BYTES = 64 * 1024;
/** Ops whose results depend on the generator of their kernel. The stateless ones take their seed as an input and are welcome. */
const RANDOM_OPS =
	/^(Multinomial|RandomUniform|RandomUniformInt|RandomStandardNormal|ParameterizedTruncatedNormal|TruncatedNormal|RandomGamma|RandomPoisson|RandomShuffle)/;
const TF_RESOURCE = 20;

/** A recorded function, ready for the addon. */
export interface GraphRecording {
	graphDef: Uint8Array;
	/** Nodes of the graph. */
	nodes: number;
	/** `node:index,…`: the arguments, then `captured`, then `constants`. */
	inputs: string;
	/** `node:index,…`: the results, then the new values of `updated`, then one of no use where `writesResources`. */
	outputs: string;
	/** Tensors and variables from outside of the function. */
	captured: TensorInfo[];
	/** Large constants: device tensors of the graph's own. */
	constants: number[];
	/** Variables that the function assigned. */
	updated: Variable[];
	/** True where the function writes resources: the last output waits for that, or TensorFlow would leave out what nobody reads. */
	writesResources: boolean;
}

/** One eager call and what became of it. */
export interface RecordedCall {
	/** What the function returned; no tensor in it is also held by anyone else. */
	result: ResultStructure;
	/** Undefined when the call made variables: a function does that on its first call, and the next one is recorded. */
	recording: GraphRecording | undefined;
	/** Names of the variables that the call made. */
	newVariables: string[];
}

/**
 * Calls `fn` once and records it.
 *
 * @param args `fn`'s arguments; `fn` sees copies of the tensors in them, so that equal tensors stay different inputs
 * @param given what `readArguments` found in them
 * @throws CaptureError when `fn` did what a graph cannot do; whatever `fn` throws
 */
export function recordCall(
	backend: NativeBackend,
	fn: (...args: never[]) => unknown,
	args: readonly unknown[],
	given: Arguments,
): RecordedCall {
	const recorder = new Recorder(backend);
	return recorder.record(fn, args, given);
}

/**
 * Records a call without computing it (trace-ops.ts). The tensors of `result` are disposed: they had no values.
 *
 * @throws CaptureError also when `fn` makes or assigns a variable; TensorFlow's error for shapes that do not fit
 */
export function traceCall(
	backend: NativeBackend,
	fn: (...args: never[]) => unknown,
	args: readonly unknown[],
	given: Arguments,
): { result: ResultStructure; recording: GraphRecording } {
	const { result, recording, newVariables } = new Recorder(backend, new OpTracer(backend.binding)).record(fn, args, given);
	if (recording) return { result, recording };
	throw new CaptureError("variable", `the function makes a variable ("${newVariables[0]}") and is only traced`, "make it outside");
}

/** True while a call is being recorded on this backend: what is called then is part of that graph. */
export function isRecording(backend: NativeBackend): boolean {
	return Object.hasOwn(backend, "getInputTensorIds");
}

class Recorder {
	private readonly real: NativeBinding;
	private readonly graph: GraphBuilder;
	/** Device tensor → `node:index`. */
	private readonly places = new Map<number, string>();
	private readonly hostValues = new Map<number, ConstantTensor>();
	/** Device tensors made here and not deleted yet, with the op that made them. */
	private readonly alive = new Map<number, string>();
	/** Tensors made of host values here. */
	private readonly hostTensors = new Set<object>();
	/** The TensorFlow.js tensor by which a device tensor was last read. */
	private readonly readAs = new Map<number, TensorInfo>();
	private readonly variables: ReadonlyMap<object, Variable>;
	/** The variables' device tensors when the call began. */
	private readonly variableIds = new Set<number>();
	private readonly captured: TensorInfo[] = [];
	private readonly constants: number[] = [];
	/** Device handles of the resources in use, with the shapes of their values. */
	private readonly resources = new Map<number, readonly number[]>();
	private readonly order = new ResourceOrder();
	/** The first thing a graph cannot do; kept, as `fn` may catch the error. */
	private failure: CaptureError | undefined;
	/** While `fn` itself runs. */
	private running = false;

	/** @param tracer runs the ops where nothing is to be computed */
	constructor(
		private readonly backend: NativeBackend,
		private readonly tracer?: OpTracer,
	) {
		this.real = backend.binding;
		this.graph = new GraphBuilder((place, node) => tracer?.declare(place, node));
		const variables = registeredVariables();
		this.variables = new Map(variables.map((variable) => [variable.dataId, variable]));
		for (const { dataId } of variables) if (backend.tensorMap.has(dataId)) this.variableIds.add(backend.tensorMap.get(dataId).id);
	}

	record(fn: (...args: never[]) => unknown, args: readonly unknown[], given: Arguments): RecordedCall {
		const before = new Map(registeredVariables().map((variable) => [variable, variable.dataId]));
		const restore = this.intercept();
		try {
			const { result, resultIds } = this.call(fn, args, given);
			try {
				const made = registeredVariables().filter((variable) => !before.has(variable));
				if (this.failure) throw this.failure;
				if (made.length > 0) return { result, recording: undefined, newVariables: made.map(({ name }) => name) };
				const recording = this.finish(resultIds, before);
				if (this.tracer) for (const tensor of result.tensors) tensor.dispose();
				return { result, recording, newVariables: [] };
			} catch (error) {
				for (const tensor of result.tensors) tensor.dispose();
				throw error;
			}
		} catch (error) {
			for (const id of this.constants) this.real.deleteTensor(id);
			throw this.failure ?? error;
		} finally {
			restore();
		}
	}

	private call(fn: (...args: never[]) => unknown, args: readonly unknown[], { tensors, handles }: Arguments) {
		let resultIds: number[] = [];
		const run = () => {
			const copies = this.copyInputs(tensors);
			for (const [i, id] of this.backend.getInputTensorIds(handles).entries()) this.addResource(id, handles[i], "in");
			const ours = replaceTensors(args, () => copies.shift() as Tensor) as never[];
			this.running = true;
			try {
				return fn(...ours);
			} finally {
				this.running = false;
			}
		};
		const result = callInScope(run, (results) => {
			resultIds = this.backend.getInputTensorIds(results);
		});
		return { result, resultIds };
	}

	/** A placeholder for each tensor, and a copy (a second handle, not the values) that stands for it during the call. */
	private copyInputs(tensors: readonly Tensor[]): Tensor[] {
		const ids = this.backend.getInputTensorIds(tensors);
		return tensors.map((tensor, i) => {
			const { dtype, shape } = this.backend.tensorMap.get(tensor.dataId);
			const [copy] = this.tracer
				? [{ id: this.tracer.newId(), dtype, shape }]
				: this.real.executeOp("Identity", [typeAttr("T", dtype)], [ids[i]], 1);
			this.places.set(copy.id, this.graph.addInput(copy.dtype, copy.shape, "in"));
			return this.backend.createOutputTensor(copy);
		});
	}

	private finish(resultIds: number[], before: ReadonlyMap<Variable, object>): GraphRecording {
		const updated = [...before.keys()].filter((variable) => !variable.isDisposed && variable.dataId !== before.get(variable));
		const updatedIds = this.backend.getInputTensorIds(updated);
		const outputs = [...resultIds, ...updatedIds].map((id) => this.graph.addOutput(this.place(id, "the result")));
		this.checkLeaks(new Set([...resultIds, ...updatedIds]));
		const gone = [...before.keys()].find((variable) => variable.isDisposed);
		if (gone) this.fail("dispose", `the function disposes the variable "${gone.name}"`, "dispose it outside");
		if (this.failure) throw this.failure;
		const writes = this.order.lastWrites;
		if (writes.length > 0) outputs.push(this.graph.addSignal(writes));
		return {
			...this.graph.encode(),
			outputs: outputs.join(),
			captured: this.captured,
			constants: this.constants,
			updated,
			writesResources: writes.length > 0,
		};
	}

	/** Puts the recorder between the backend and the addon; the result undoes it. */
	private intercept(): () => void {
		const { backend, real } = this;
		const binding = Object.create(real) as NativeBinding;
		const intercepted: Partial<NativeBinding> = {
			createTensor: (shape, dtype, values) => this.createTensor(shape, dtype, values),
			deleteTensor: (id) => this.deleteTensor(id),
			executeOp: (name, attrs, ids, count) => this.executeOp(name, attrs, ids, count),
			tensorDataSync: (id) => this.tensorDataSync(id),
			identityAfter: (id, dtype, others) => this.executeOp("Identity", [typeAttr("T", dtype)], [id], 1, this.waitsFor(others))[0],
		};
		for (const [name, value] of Object.entries(intercepted)) Object.defineProperty(binding, name, { value });
		const write = backend.write.bind(backend);
		const getInputTensorIds = backend.getInputTensorIds.bind(backend);
		const undo = [
			override(backend, "binding", binding),
			override(backend, "write", (...args: Parameters<typeof write>) => {
				const dataId = write(...args);
				this.hostTensors.add(dataId);
				return dataId;
			}),
			override(backend, "getInputTensorIds", (tensors: readonly TensorInfo[]) => {
				for (const tensor of tensors) this.uploadOlder(tensor);
				const ids = getInputTensorIds(tensors);
				for (const [i, id] of ids.entries()) this.readAs.set(id, tensors[i]);
				return ids;
			}),
			override(engine(), "readSync", (dataId: object) => this.readOnHost(dataId)),
			override(engine(), "read", async (dataId: object) => this.readOnHost(dataId)),
			override(Math, "random", () => this.random()),
			...(this.tracer ? [override(Variable.prototype, "assign", () => this.assign())] : []),
		];
		return () => {
			for (const restore of undo.reverse()) restore();
		};
	}

	/** Values that waited for their upload since before the call are not made here. */
	private uploadOlder({ dataId }: TensorInfo): void {
		// An int64 scalar of tfjs-node's is no tensor.
		if (dataId === undefined || this.hostTensors.has(dataId) || !this.backend.tensorMap.has(dataId)) return;
		const data = this.backend.tensorMap.get(dataId);
		if (data.values === null) return;
		data.id = this.real.createTensor(data.shape, data.dtype, data.values);
		data.values = null;
		if (this.variables.has(dataId)) this.variableIds.add(data.id);
	}

	private createTensor(shape: readonly number[], dtype: number, values: ConstantTensor["values"]): number {
		const id = this.tracer ? this.tracer.newId() : this.real.createTensor(shape, dtype, values as Float32Array);
		this.hostValues.set(id, { shape: [...shape], dtype, values });
		return id;
	}

	private deleteTensor(id: number): void {
		const made = this.alive.has(id) || this.hostValues.has(id) || this.variableIds.has(id);
		if (this.running && !made) {
			this.note("dispose", "the function disposes a tensor that it did not make", "dispose it after the call, outside");
		}
		this.alive.delete(id);
		if (!this.tracer?.owns(id)) this.real.deleteTensor(id);
	}

	/** @param waits nodes to run before it, `^node` each */
	private executeOp(op: string, attrs: NativeOpAttr[], ids: number[], count: number, waits: readonly string[] = []): NativeTensor[] {
		if (RANDOM_OPS.test(op)) this.fail(op, `"${op}" is random, and would give the same at every call`, "draw outside and pass the tensor");
		if (op === "VarHandleOp") this.fail(op, "the function makes a resource variable", "make it outside");
		const computed = this.tracer ? undefined : this.real.executeOp(op, attrs, ids, count);
		const given = attrs.filter(({ value }) => value !== undefined);
		const inputs = ids.map((id) => this.place(id, op));
		const used = ids.filter((id) => this.resources.has(id));
		waits = [...waits, ...this.order.add(op, this.graph.nextName, used)];
		const name = this.graph.add({ op, inputs: [...inputs, ...waits], attrs: given });
		// A shape function knows a resource by its handle alone: what is read from it has the shape that its variable was made with.
		const read = op === "ReadVariableOp" ? this.resources.get(ids[0]) : undefined;
		const outputs = computed ?? (this.tracer as OpTracer).execute(name, op, given, inputs, count, read);
		for (const { id } of outputs) this.alive.set(id, op);
		for (const [i, { id }] of outputs.entries()) this.places.set(id, `${name}:${i}`);
		return outputs;
	}

	/** tfjs-node's gather reads its indices to check them (readOnHost is for all others): those that have no values yet pass. */
	private tensorDataSync(id: number): ReturnType<NativeBinding["tensorDataSync"]> {
		return this.tracer?.owns(id) ? new Int32Array(0) : this.real.tensorDataSync(id);
	}

	/** The nodes that made these tensors; an input of the graph is there from the start. */
	private waitsFor(ids: readonly number[]): string[] {
		const places = ids.map((id) => this.place(id, "runAfter")).filter((place) => place.startsWith("n"));
		return places.map((place) => `^${place.split(":")[0]}`);
	}

	/** Where a device tensor is in the graph. */
	private place(id: number, op: string): string {
		const known = this.places.get(id);
		if (known) return known;
		const place = this.placeConstant(id) ?? this.placeCaptured(id, op);
		this.places.set(id, place);
		return place;
	}

	private placeConstant(id: number): string | undefined {
		const constant = this.hostValues.get(id);
		if (!constant) return undefined;
		const { dtype, shape, values } = constant;
		if (!ArrayBuffer.isView(values) || values.byteLength < LARGE_CONSTANT_BYTES) return this.graph.addConst(constant);
		if (values.every((value) => Object.is(value, values[0]))) {
			return this.graph.addFill(dtype, shape, values.slice(0, 1));
		}
		this.constants.push(this.real.createTensor(shape, dtype, values.slice()));
		return this.graph.addInput(dtype, shape, "large");
	}

	private placeCaptured(id: number, op: string): string {
		const info = this.readAs.get(id);
		if (!info || !this.backend.tensorMap.has(info.dataId)) {
			return this.fail(op, `"${op}" reads device tensor ${id}, which no TensorFlow.js tensor holds`, "make it inside the function");
		}
		const { dtype, shape } = this.backend.tensorMap.get(info.dataId);
		const variable = info instanceof Variable ? info : this.variables.get(info.dataId);
		this.captured.push(variable ?? { dataId: info.dataId, shape: info.shape, dtype: info.dtype });
		if (dtype === TF_RESOURCE) return this.addResource(id, info, "captured");
		return this.graph.addInput(dtype, shape, "captured");
	}

	private addResource(id: number, { dataId }: TensorInfo, kind: InputKind): string {
		const place = this.graph.addInput(TF_RESOURCE, [], kind);
		this.places.set(id, place);
		this.resources.set(id, resourceShapes.get(dataId) ?? []);
		return place;
	}

	/** What the function made and somebody still holds, its results aside. */
	private checkLeaks(results: ReadonlySet<number>): void {
		const wayOut = "return it, or let it go (no tf.keep)";
		for (const [id, op] of this.alive) {
			if (!results.has(id)) this.note(op, `the result of "${op}" outlives the function without being returned`, wayOut);
		}
		for (const dataId of this.hostTensors) {
			if (!this.backend.tensorMap.has(dataId)) continue;
			if (results.has(this.backend.tensorMap.get(dataId).id)) continue;
			this.note("tensor", 'a tensor made of host values ("tensor") outlives the function without being returned', wayOut);
		}
	}

	private readOnHost(dataId: object): unknown {
		const { tensorMap } = this.backend;
		const data = tensorMap.get(dataId);
		// What was made of host values here is a constant, and may be read.
		if (data.values !== null && this.hostTensors.has(dataId)) return data.values;
		const constant = this.hostValues.get(data.id);
		if (constant && !this.places.get(data.id)?.startsWith("n")) return constant.values;
		const op = this.alive.get(data.id);
		const what = op ? `the result of "${op}"` : "a tensor from outside";
		return this.fail(
			op ?? "read",
			`the function reads ${what} on the host (dataSync, data, array, print)`,
			"return it and read it outside",
		);
	}

	private random(): never {
		// tfjs-core's ops without a kernel are known by their place on the stack only: `randomNormal__op`.
		const op = /\b(\w+?)_+op\b/.exec(new Error().stack ?? "")?.[1] ?? "Math.random";
		return this.fail(op, `"${op}" without a seed would give the same at every call`, "draw outside and pass the tensor");
	}

	private assign(): never {
		return this.fail("assign", "the function assigns a variable and is only traced", "return the value and assign it outside");
	}

	private fail(op: string, problem: string, wayOut: string): never {
		this.note(op, problem, wayOut);
		throw this.failure;
	}

	private note(op: string, problem: string, wayOut: string): void {
		this.failure ??= new CaptureError(op, problem, wayOut);
	}
}

function registeredVariables(): Variable[] {
	return Object.values(engine().registeredVariables);
}

/** Gives an object a property of its own for a while; the result takes it back. */
function override(target: object, name: string, value: unknown): () => void {
	const own = Object.getOwnPropertyDescriptor(target, name);
	Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: own?.enumerable ?? false });
	return () => {
		if (own) Object.defineProperty(target, name, own);
		else Reflect.deleteProperty(target, name);
	};
}
