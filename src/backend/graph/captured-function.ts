/**
 * A recording as a function of TensorFlow's eager context: one native call on the eager tensors themselves.
 *
 * Its inputs are the arguments, then what the recorded function closed over (looked up at each call: a variable is a new device tensor after each
 * `assign`; a resource by its handle), then its large constants. Its outputs are the results, then the variables' new values, then, where it
 * writes resources, one that says that it did.
 */
import { randomUUID } from "node:crypto";
import type { NativeBackend, NativeTensor } from "../native-binding.js";
import { type Tensor, type TensorInfo, Variable } from "../tf.js";
import type { GraphRecording } from "./record-graph.js";
import type { ResultStructure } from "./tensor-structure.js";

/** Function names are global to the eager context, also between two copies of this module. */
const NAMESPACE = randomUUID().slice(0, 8);
let functions = 0;

export class CapturedFunction {
	private readonly name: string;
	private readonly resultCount: number;
	private readonly rebuild: ResultStructure["rebuild"];

	/**
	 * @param label part of the function's name in TensorFlow's messages
	 * @param result of the recorded call; its tensors are not kept
	 * @throws Error when TensorFlow refuses the graph
	 */
	constructor(
		label: string,
		readonly backend: NativeBackend,
		private readonly recording: GraphRecording,
		{ tensors, rebuild }: ResultStructure,
	) {
		this.name = `${label.replace(/[^\w.]/g, "_")}_${NAMESPACE}_${functions++}`;
		this.resultCount = tensors.length;
		this.rebuild = rebuild;
		try {
			backend.binding.addFunction?.(this.name, recording.graphDef, recording.inputs, recording.outputs);
		} catch (error) {
			this.deleteConstants();
			throw new Error(`compile: TensorFlow refuses the graph of "${label}": ${(error as Error).message}`, { cause: error });
		}
	}

	/** Nodes of the graph as it was recorded. */
	get nodes(): number {
		return this.recording.nodes;
	}

	/** @param inputs the tensors among the arguments */
	run(inputs: readonly Tensor[]): unknown {
		return this.finish(this.backend.binding.executeOp(this.name, [], this.inputIds(inputs), this.outputCount));
	}

	/** The same on another thread; variables are assigned when it ends. */
	async runAsync(inputs: readonly Tensor[]): Promise<unknown> {
		const { binding } = this.backend;
		if (!binding.runAsync) return this.run(inputs);
		return this.finish(await binding.runAsync(this.name, this.inputIds(inputs), this.outputCount));
	}

	/** Takes the function out of the context, with its constants. */
	dispose(): void {
		this.backend.binding.removeFunction?.(this.name);
		this.deleteConstants();
	}

	private get outputCount(): number {
		return this.resultCount + this.recording.updated.length + (this.recording.writesResources ? 1 : 0);
	}

	private inputIds(inputs: readonly Tensor[]): number[] {
		for (const captured of this.recording.captured) this.checkAlive(captured);
		return [...this.backend.getInputTensorIds([...inputs, ...this.recording.captured]), ...this.recording.constants];
	}

	private checkAlive(captured: TensorInfo): void {
		if (captured instanceof Variable ? !captured.isDisposed : this.backend.tensorMap.has(captured.dataId)) return;
		const what = captured instanceof Variable ? `the variable "${captured.name}"` : describe(captured);
		throw new Error(
			`compile: ${what} that "${this.name}" closes over was disposed after it was recorded; keep it, or make a tensor that changes an argument`,
		);
	}

	private finish(outputs: readonly NativeTensor[]): unknown {
		const kept = outputs.slice(0, this.resultCount + this.recording.updated.length);
		for (const { id } of outputs.slice(kept.length)) this.backend.binding.deleteTensor(id);
		const tensors = kept.map((output) => this.backend.createOutputTensor(output));
		const values = tensors.splice(this.resultCount);
		for (const [i, variable] of this.recording.updated.entries()) {
			variable.assign(values[i]);
			values[i].dispose();
		}
		return this.rebuild(tensors);
	}

	private deleteConstants(): void {
		for (const id of this.recording.constants) this.backend.binding.deleteTensor(id);
	}
}

/** TensorFlow.js takes a resource's handle for a string. */
function describe({ dtype, shape }: TensorInfo): string {
	return dtype === "string" ? "a resource variable" : `a tensor of shape [${shape}]`;
}
