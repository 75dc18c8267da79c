/**
 * Trees of tokens as what the decoder reads: each row's tree behind the row's own columns of the cache.
 *
 * Legend: R rows, T nodes of a tree, E edges of a tree, S columns of the cache, V vocabulary.
 */
import { tensor1d, tensor4d } from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import { roundUp } from "../../nn/size-step.js";
import type { LookAheadInputs } from "./passes.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import { sees, type TokenTree } from "./token-tree.js";

/** Sizes of trees are multiples of it. */
const STEP = 8;

export interface LookAheadRow {
	slot: number;
	tree: TokenTree;
	/** The row's columns before the tree's root: from `start` to before `end`. */
	start: number;
	end: number;
	/** Position of the root. */
	position: number;
}

/** @returns tensors, the caller's to dispose, and E */
export function lookAheadInputs(
	rows: readonly LookAheadRow[],
	columns: number,
	model: Qwen2_5VLModel,
): { tensors: Omit<LookAheadInputs, "keys" | "values">; edges: number } {
	const nodes = roundUp(Math.max(...rows.map(({ tree }) => tree.tokens.length)), STEP);
	const edges = roundUp(Math.max(...rows.map(({ tree }) => tree.edges.length)), STEP);
	// What is padded repeats the first row, the root and the first edge: numbers that nobody looks at.
	const padded = Array.from({ length: 2 ** Math.ceil(Math.log2(rows.length)) }, (_, r) => rows[r] ?? rows[0]);
	const at = <T>(list: readonly T[], i: number): T => list[i] ?? list[0];
	const vocabulary = model.config.text.vocabSize;
	const flat = (size: number, value: (row: LookAheadRow, i: number, r: number) => number) =>
		Int32Array.from(padded.flatMap((row, r) => Array.from({ length: size }, (_, i) => value(row, i, r))));
	return {
		edges,
		tensors: {
			ids: tensor1d(
				flat(nodes, ({ tree }, i) => at(tree.tokens, i)),
				"int32",
			),
			rotary: model.rotaryOf(flat(nodes, ({ tree, position }, i) => position + at(tree.depths, i))),
			mask: tensor4d(treeMask(padded, nodes, columns), [padded.length, 1, nodes, columns + nodes]),
			slots: tensor1d(
				flat(1, ({ slot }) => slot),
				"int32",
			),
			nodes: tensor1d(
				flat(edges, ({ tree }, i, r) => r * nodes + at(tree.edges, i).node),
				"int32",
			),
			next: tensor1d(
				flat(edges, ({ tree }, i, r) => (r * edges + i) * vocabulary + at(tree.edges, i).next),
				"int32",
			),
		},
	};
}

/** [R · T · (S + T)] 0 where a node may look: the row's columns, and the nodes that it comes after. */
function treeMask(rows: readonly LookAheadRow[], nodes: number, columns: number): Float32Array {
	const width = columns + nodes;
	const mask = new Float32Array(rows.length * nodes * width).fill(MASKED);
	rows.forEach(({ tree, start, end }, r) => {
		for (let node = 0; node < nodes; node++) {
			const from = (r * nodes + node) * width;
			mask.fill(0, from + start, from + end);
			for (let other = 0; other <= node && node < tree.tokens.length; other++)
				if (sees(tree, node, other)) mask[from + columns + other] = 0;
		}
	});
	return mask;
}
