/**
 * Chooses each row's next token from the logits, with one read-back: the likeliest tokens' ids to decode greedily, probabilities to sample plainly
 * (the device's softmax: exponentials of a vocabulary of 150,000 take JavaScript milliseconds per row), whole rows of logits for everything else.
 */
import { div, gather, softmax, type Tensor1D, type Tensor2D, tensor1d, tidy } from "../../backend/tf.js";
import type { GenerateOptions } from "../generative-model.js";
import { argmax, drawFrom, drawToken, processLogits, type RowRandom } from "../logits-processors.js";

import type { Allowed, RowGuide } from "./row-guide.js";

/** What choosing a token needs of a row. */
export interface SampledRow {
	/** Ids of the prompt, for the repetition penalty. */
	prompt: Int32Array;
	/** Generated so far. */
	tokens: number[];
	random: RowRandom;
	/** The ids of both, for the repetition penalty: made when it is first needed and added to, since a row would else be gone through at every token. */
	seen?: Set<number>;
	/** Generated tokens that are in `seen`. */
	seenTokens?: number;
	/** Says which tokens may come; absent where any may. */
	guide?: Pick<RowGuide, "allowed">;
}

/** A row of the logits in which not every token may come. */
interface GuidedRow {
	row: SampledRow;
	index: number;
	allowed: Allowed;
}

/**
 * @param logits [B, V]
 * @param best [B] the likeliest tokens
 * @param rows by row of the logits; undefined where none runs
 * @returns a token per row
 */
export async function pickTokens(
	{ logits, best }: { logits: Tensor2D; best: Tensor1D },
	rows: readonly (SampledRow | undefined)[],
	options: GenerateOptions,
): Promise<ArrayLike<number>> {
	const guided = rows.flatMap((row, index): GuidedRow[] => {
		const allowed = row?.guide?.allowed;
		return row && allowed ? [{ row, index, allowed }] : [];
	});
	if (guided.length === 0) return pickFreely({ logits, best }, rows, options);
	const own = await pickGuided(logits, guided, options);
	const free = rows.map((row, i) => (own.has(i) ? undefined : row));
	const others = free.some((row) => row) ? await pickFreely({ logits, best }, free, options) : [];
	return rows.map((_, i) => own.get(i) ?? others[i] ?? 0);
}

async function pickFreely(
	{ logits, best }: { logits: Tensor2D; best: Tensor1D },
	rows: readonly (SampledRow | undefined)[],
	options: GenerateOptions,
): Promise<ArrayLike<number>> {
	const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
	if (temperature === 0 && repetitionPenalty === 1) return best.data();
	const plain = topK === 0 && topP === 1 && minP === 0 && repetitionPenalty === 1;
	const read = plain ? tidy(() => softmax(div(logits, temperature)) as Tensor2D) : logits;
	const all = (await read.data()) as Float32Array;
	if (plain) read.dispose();
	const vocabulary = logits.shape[1];
	return rows.map((row, i) => {
		if (!row) return 0;
		const own = all.subarray(i * vocabulary, (i + 1) * vocabulary);
		if (plain) return drawFrom(own, row.random);
		return pickFromRow(own, row, options);
	});
}

/** Where one token only may come, nothing is read and nothing drawn. @returns by index */
async function pickGuided(logits: Tensor2D, guided: readonly GuidedRow[], options: GenerateOptions): Promise<Map<number, number>> {
	const isOpen = ({ allowed }: GuidedRow) => "not" in allowed || allowed.only.length > 1;
	const open = guided.filter(isOpen);
	const picked = new Map(
		guided.filter((one) => !isOpen(one)).map(({ index, allowed }) => [index, "only" in allowed ? allowed.only[0] : 0]),
	);
	if (open.length === 0) return picked;
	const read = tidy(() =>
		gather(
			logits,
			tensor1d(
				open.map(({ index }) => index),
				"int32",
			),
		),
	);
	const all = (await read.data()) as Float32Array;
	read.dispose();
	const vocabulary = logits.shape[1];
	for (const [i, { row, index, allowed }] of open.entries()) {
		const own = all.subarray(i * vocabulary, (i + 1) * vocabulary);
		ruleOut(own, allowed);
		picked.set(index, pickFromRow(own, row, options));
	}
	return picked;
}

function ruleOut(logits: Float32Array, allowed: Allowed): void {
	if ("not" in allowed) for (const id of allowed.not) logits[id] = Number.NEGATIVE_INFINITY;
	else {
		const kept = allowed.only.map((id) => [id, logits[id]]);
		logits.fill(Number.NEGATIVE_INFINITY);
		for (const [id, logit] of kept) logits[id] = logit;
	}
}

/** @param logits [V] is changed */
function pickFromRow(logits: Float32Array, row: SampledRow, options: GenerateOptions): number {
	const { temperature = 0, repetitionPenalty = 1 } = options;
	processLogits(logits, repetitionPenalty === 1 ? [] : seenBy(row), temperature === 0 ? { repetitionPenalty } : options);
	return temperature === 0 ? argmax(logits) : drawToken(logits, row.random);
}

function seenBy(row: SampledRow): Set<number> {
	row.seen ??= new Set(row.prompt);
	for (let i = row.seenTokens ?? 0; i < row.tokens.length; i++) row.seen.add(row.tokens[i]);
	row.seenTokens = row.tokens.length;
	return row.seen;
}
