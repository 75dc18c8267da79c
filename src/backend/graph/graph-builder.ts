/** The nodes of a graph while it is being recorded, and its inputs. What an op results in is at a place, `node:index`. */
import { type ConstantTensor, constNode, encodeGraphDef, type GraphNode, placeholderNode, typeAttr } from "./graph-def.js";

const TF_INT32 = 3;

/** An argument, a tensor from outside of the function, or a large constant. */
export type InputKind = "in" | "captured" | "large";

export class GraphBuilder {
	private readonly nodes: GraphNode[] = [];
	/** The places of each kind of input, in the order in which a call gives them. */
	private readonly inputs: Record<InputKind, string[]> = { in: [], captured: [], large: [] };

	/** @param declare is told of every place that is not an op's result */
	constructor(private readonly declare: (place: string, node: GraphNode) => void) {}

	/** The name that the next op gets. */
	get nextName(): string {
		return `n${this.nodes.length}`;
	}

	/** @returns the node's name */
	add(node: Omit<GraphNode, "name">): string {
		const name = this.nextName;
		this.nodes.push({ name, ...node });
		return name;
	}

	addInput(dtype: number, shape: readonly number[], kind: InputKind): string {
		const place = this.addDeclared(placeholderNode(`${kind}${this.nodes.length}`, dtype, shape));
		this.inputs[kind].push(place);
		return place;
	}

	addConst(constant: ConstantTensor): string {
		return this.addDeclared(constNode(`const${this.nodes.length}`, constant));
	}

	/** A tensor of one value. @param value of length 1 */
	addFill(dtype: number, shape: readonly number[], value: ConstantTensor["values"]): string {
		const dims = this.addConst({ dtype: TF_INT32, shape: [shape.length], values: Int32Array.from(shape) });
		const filling = this.addConst({ dtype, shape: [], values: value });
		const attrs = [typeAttr("T", dtype), typeAttr("index_type", TF_INT32)];
		const place = `${this.add({ op: "Fill", inputs: [dims, filling], attrs })}:0`;
		this.declare(place, placeholderNode(place.replace(":", "_"), dtype, shape));
		return place;
	}

	/** Where a result can be fetched: what is at a place that is no op's gets one. */
	addOutput(place: string): string {
		if (place.startsWith("n")) return place;
		const node = this.nodes.find(({ name }) => `${name}:0` === place) as GraphNode;
		return `${this.add({ op: "Identity", inputs: [place], attrs: [typeAttr("T", node.attrs[0].value as number)] })}:0`;
	}

	/** An output that is there when these nodes have run. @param waits `^node` each */
	addSignal(waits: readonly string[]): string {
		const value = this.addConst({ dtype: TF_INT32, shape: [], values: Int32Array.of(0) });
		return `${this.add({ op: "Identity", inputs: [value, ...waits], attrs: [typeAttr("T", TF_INT32)] })}:0`;
	}

	encode(): { graphDef: Uint8Array; nodes: number; inputs: string } {
		const { in: given, captured, large } = this.inputs;
		return { graphDef: encodeGraphDef(this.nodes), nodes: this.nodes.length, inputs: [...given, ...captured, ...large].join() };
	}

	private addDeclared(node: GraphNode): string {
		this.nodes.push(node);
		this.declare(`${node.name}:0`, node);
		return `${node.name}:0`;
	}
}
