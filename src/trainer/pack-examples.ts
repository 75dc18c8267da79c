/**
 * Several conversations in one row, end to end, so that less of a batch is padding. Attention stays inside each conversation and its M-RoPE positions
 * begin anew (`segmentLengths`, see ModelInputs.segmentIds), and no token is asked to predict the next conversation's first: the loss
 * is that of the conversations in rows of their own.
 */
import type { EncodedConversation } from "../model/generative-model.js";
import type { TrainingExample } from "./collate.js";

/** A row of a batch: one example, or several in one. */
export interface TrainingRowOfBatch {
	encoded: EncodedConversation;
	/** In the order in which they stand in the row. */
	examples: readonly TrainingExample[];
}

/** What is computed of rows: their conversations, and of pairs those with the rejected answers, too. */
export function conversationsOf(rows: readonly TrainingRowOfBatch[]): { encoded: EncodedConversation }[] {
	return rows.flatMap(({ encoded, examples }) => [
		{ encoded },
		...examples.flatMap(({ rejected }) => (rejected ? [{ encoded: rejected }] : [])),
	]);
}

/**
 * First-fit decreasing: each example, longest first, goes into the first row that has room for it.
 *
 * @param maxTokens most tokens of a row; a longer example has a row of its own. Default: the longest example's
 * @returns rows, shortest first
 */
export function packExamples(
	examples: readonly TrainingExample[],
	maxTokens = Math.max(0, ...examples.map(lengthOf)),
): TrainingRowOfBatch[] {
	const bins: { room: number; examples: TrainingExample[] }[] = [];
	for (const example of [...examples].sort((a, b) => lengthOf(b) - lengthOf(a) || a.row - b.row)) {
		const length = lengthOf(example);
		let bin = bins.find(({ room }) => room >= length);
		if (!bin) {
			bin = { room: maxTokens, examples: [] };
			bins.push(bin);
		}
		bin.room -= length;
		bin.examples.push(example);
	}
	return bins
		.sort((a, b) => b.room - a.room || a.examples[0].row - b.examples[0].row)
		.map(({ examples }) => ({ encoded: join(examples), examples }));
}

const lengthOf = ({ encoded }: TrainingExample) => encoded.inputIds.length;

/** The first token of a conversation has nothing before it to be predicted from, whatever its mask says. */
function join(examples: readonly TrainingExample[]): EncodedConversation {
	const segmentLengths = examples.map(lengthOf);
	const tokens = segmentLengths.reduce((sum, length) => sum + length, 0);
	const [inputIds, assistantMask] = [new Int32Array(tokens), new Uint8Array(tokens)];
	let at = 0;
	for (const { encoded } of examples) {
		inputIds.set(encoded.inputIds, at);
		assistantMask.set(encoded.assistantMask, at);
		assistantMask[at] = 0;
		at += encoded.inputIds.length;
	}
	return { inputIds, assistantMask, images: examples.flatMap(({ encoded }) => encoded.images), segmentLengths };
}
