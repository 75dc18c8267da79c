/**
 * Ops that are looked at and not run: each output has the type and the shape that TensorFlow's own shape function gives it, and no memory.
 *
 * So a function is recorded at the price of its JavaScript alone: no eager pass, which holds every intermediate to its end, comes before the
 * graph, and the first call is a run of the graph as all later ones are, with the same numbers to the bit. An op is asked about in a graph of its
 * own: its inputs as placeholders of their shapes, constants as themselves (`Reshape` reads one).
 */
import type { NativeBinding, NativeOpAttr, NativeTensor } from "../native-binding.js";
import { encodeGraphDef, type GraphNode, placeholderNode } from "./graph-def.js";

/** The addon counts its ids from 0; these are beyond what it can count to. */
const FIRST_ID = 2 ** 40;
const OP = "op";

type Output = Omit<NativeTensor, "id">;

export class OpTracer {
	private nextId = FIRST_ID;
	/** `node:index` → what stands for it where the op that reads it is asked about. */
	private readonly stubs = new Map<string, GraphNode>();
	/** Layers repeat: answers by question. */
	private readonly answers = new Map<string, Output[]>();

	/** @throws where the addon cannot infer shapes */
	constructor(private readonly binding: NativeBinding) {
		if (binding.inferOutputs) return;
		throw new Error("compile: this addon has no inferOutputs, which `trace` needs; `npx tfjs-rft setup` compiles one that has it");
	}

	/** Whether the id is of a tensor that exists in the trace only. */
	owns(id: number): boolean {
		return id >= FIRST_ID;
	}

	newId(): number {
		return this.nextId++;
	}

	/** Tells what an input or a constant of the graph is. */
	declare(place: string, node: GraphNode): void {
		this.stubs.set(place, node);
	}

	/**
	 * The outputs of an op.
	 *
	 * @param name the node's, in the whole graph
	 * @param read where the op reads a resource's values, their shape
	 * @throws Error from TensorFlow's shape function; where a shape is not known from the inputs' shapes
	 */
	execute(
		name: string,
		op: string,
		attrs: readonly NativeOpAttr[],
		places: readonly string[],
		count: number,
		read?: readonly number[],
	): NativeTensor[] {
		const dtype = attrs.find((attr) => attr.name === "dtype")?.value as number;
		return (read ? [{ dtype, shape: [...read] }] : this.infer(op, attrs, places, count)).map(({ dtype, shape }, i) => {
			this.declare(`${name}:${i}`, placeholderNode(`${name}_${i}`, dtype, shape));
			return { id: this.newId(), dtype, shape };
		});
	}

	private infer(op: string, attrs: readonly NativeOpAttr[], places: readonly string[], count: number): Output[] {
		const stubs = places.map((place) => this.stubs.get(place) as GraphNode);
		const question = [op, count, JSON.stringify(attrs), ...stubs.map(describe)].join("|");
		const known = this.answers.get(question);
		if (known) return known;
		const node: GraphNode = { name: OP, op, inputs: stubs.map(({ name }) => `${name}:0`), attrs };
		const outputs = this.binding.inferOutputs?.(encodeGraphDef([...new Set(stubs), node]), OP, count) ?? [];
		for (const { shape } of outputs) {
			if (shape?.every((dim) => dim >= 0)) continue;
			throw new Error(
				`compile: the shape of the result of "${op}" does not follow from its inputs' shapes; leave out the option \`trace\``,
			);
		}
		this.answers.set(question, outputs as Output[]);
		return outputs as Output[];
	}
}

/** A placeholder by type and shape, a constant by itself. */
function describe({ op, name, attrs, value }: GraphNode): string {
	if (op === "Placeholder") return attrs.map((attr) => attr.value).join();
	return value && ArrayBuffer.isView(value.values) ? `${value.dtype}[${value.shape}]=${value.values}` : name;
}
