/**
 * Several continuations of a row as one tree of tokens, so that one pass of the decoder gives the log-probabilities of them all: what they share is read
 * once, and no branch sees another.
 *
 *     root ─ " " ┬ "1" ─ " is" ─ "</"        nodes   0 root, 1 " ", 2 "1", 3 " is", 4 "2", 5 " is"   (last tokens are not read)
 *                └ "2" ─ " is" ─ "</"        edges   root→" ", " "→"1", "1"→" is", " is"→"</", …      (what is asked: a token after a node)
 */
export interface TokenTree {
	/** By node: its token. Node 0 is the root, a token that the row has said. */
	tokens: number[];
	/** By node: the node before it; −1 for the root. */
	parents: number[];
	/** By node: tokens after the root. */
	depths: number[];
	edges: { node: number; next: number }[];
	/** By continuation: its edges. */
	paths: number[][];
}

export function tokenTree(root: number, tails: readonly (readonly number[])[]): TokenTree {
	const tree: TokenTree = { tokens: [root], parents: [-1], depths: [0], edges: [], paths: [] };
	const known = new Map<string, number>();
	const find = (kind: "edge" | "node", node: number, next: number, make: () => number) => {
		const key = `${kind} ${node} ${next}`;
		const found = known.get(key) ?? make();
		known.set(key, found);
		return found;
	};
	for (const tail of tails) {
		let node = 0;
		const path = tail.map((next, i) => {
			const edge = find("edge", node, next, () => tree.edges.push({ node, next }) - 1);
			if (i < tail.length - 1) node = find("node", node, next, () => grow(tree, node, next));
			return edge;
		});
		tree.paths.push(path);
	}
	return tree;
}

function grow(tree: TokenTree, parent: number, token: number): number {
	tree.parents.push(parent);
	tree.depths.push(tree.depths[parent] + 1);
	return tree.tokens.push(token) - 1;
}

/** Whether a node sees another: itself and those that it comes after. */
export function sees({ parents }: TokenTree, node: number, other: number): boolean {
	for (let at = node; at >= 0; at = parents[at]) if (at === other) return true;
	return false;
}
