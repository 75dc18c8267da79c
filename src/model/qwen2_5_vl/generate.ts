/**
 * Autoregressive generation: one prefill of the left-padded prompts, then a decode step per token. Several rows may continue one prompt:
 * it is read once and its cache copied to each. A row that has ended is dropped from the batch once half of the rows have, so that a long row does not pay for finished ones.
 *
 * A generated token's position is (unpadded length so far) + rope delta, the same on all axes.
 * Logits are read back once per step: the arg-max only for greedy decoding, whole rows to sample.
 */
import { argMax, gather, type Tensor2D, tensor1d, tensor4d, tidy } from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import { KvCache } from "../../nn/kv-cache.js";
import type { FinishReason, GenerateOptions, GenerateResult, ModelInputs } from "../generative-model.js";
import { argmax, drawToken, processLogits, type RowRandom, rowRandom } from "../logits-processors.js";
import type { MropePositions } from "./mrope.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";

/** One row of the batch while it runs. */
interface Row {
	prompt: Int32Array;
	tokens: number[];
	/** [S] of the prompt: 1 on tokens. */
	promptMask: Int32Array;
	nextPosition: number;
	random: RowRandom;
	finishReason?: FinishReason;
}

export async function generate(model: Qwen2_5VLModel, inputs: ModelInputs, options: GenerateOptions): Promise<GenerateResult> {
	const { maxNewTokens = 256, eosTokenIds = model.eosTokenIds, signal, onStep } = options;
	checkOptions(inputs, options);
	const promptOfRow = Int32Array.from(options.promptOfRow ?? Array(inputs.inputIds.shape[0]).keys());
	const positions = model.positions(inputs);
	const rows = startRows(inputs, positions, promptOfRow, options);
	const caches = Array.from({ length: model.config.text.numHiddenLayers }, () => new KvCache());
	let running = rows;
	try {
		for (let step = 0; step < maxNewTokens && running.length > 0; step++) {
			signal?.throwIfAborted();
			const logits = tidy(() => (step === 0 ? readPrompts(model, inputs, positions, promptOfRow, caches) : decode(model, running, caches)));
			const next = await pickTokens(logits, running, options); // the step's one read-back
			logits.dispose();
			running.forEach((row, i) => {
				if (row.finishReason) return;
				row.tokens.push(next[i]);
				if (step > 0) row.nextPosition++;
				if (eosTokenIds.includes(next[i])) row.finishReason = "stop";
				else if (row.tokens.length === maxNewTokens) row.finishReason = "length";
			});
			running = dropFinished(running, caches);
			onStep?.(running.filter((row) => !row.finishReason).length);
			await new Promise(setImmediate); // other work of the process gets its turn
		}
	} finally {
		for (const cache of caches) cache.dispose();
	}
	const tokens = rows.map((row) => Int32Array.from(row.tokens));
	return {
		tokens,
		texts: tokens.map((ids) => model.processor.decode(ids)),
		finishReasons: rows.map((row) => row.finishReason ?? "length"),
	};
}

function checkOptions(
	{ inputIds, attentionMask }: ModelInputs,
	{ maxNewTokens = 1, temperature = 0, topP = 1, minP = 0, repetitionPenalty = 1, seeds, promptOfRow }: GenerateOptions,
): void {
	const [batch, length] = inputIds.shape;
	const wrong = (what: string, expected: string, got: unknown) => {
		throw new RangeError(`generate: ${what} must be ${expected}, got ${got}`);
	};
	if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) wrong("maxNewTokens", "a positive integer", maxNewTokens);
	if (!(temperature >= 0)) wrong("temperature", "0 (greedy) or more", temperature);
	if (!(topP > 0 && topP <= 1)) wrong("topP", "in (0, 1]", topP);
	if (!(minP >= 0 && minP <= 1)) wrong("minP", "in [0, 1]", minP);
	if (!(repetitionPenalty > 0)) wrong("repetitionPenalty", "positive", repetitionPenalty);
	const rows = promptOfRow?.length ?? batch;
	if (seeds && seeds.length !== rows) wrong("seeds", `one per row (${rows})`, `${seeds.length}`);
	const stray = promptOfRow?.find((p) => !(Number.isInteger(p) && p >= 0 && p < batch));
	if (stray !== undefined) wrong("promptOfRow", `row numbers of the inputs, 0 to ${batch - 1}`, stray);
	for (let b = 0; b < batch; b++) {
		if (!attentionMask.data[(b + 1) * length - 1])
			wrong(`row ${b}`, "padded on the left, to be continued on the right", "padding at its end");
	}
}

function startRows(inputs: ModelInputs, { ropeDeltas }: MropePositions, promptOfRow: Int32Array, { seeds }: GenerateOptions): Row[] {
	const [, length] = inputs.inputIds.shape;
	return Array.from(promptOfRow, (p, index) => {
		const promptMask = inputs.attentionMask.data.slice(p * length, (p + 1) * length);
		const prompt = inputs.inputIds.data.slice(p * length, (p + 1) * length).filter((_, t) => promptMask[t]);
		const random = rowRandom(seeds?.[index] ?? index);
		return { prompt, promptMask, tokens: [], nextPosition: prompt.length + ropeDeltas[p], random };
	});
}

/** @returns logits [B, V] after each row's prompt; the caches then have a row per generated row. */
function readPrompts(
	model: Qwen2_5VLModel,
	inputs: ModelInputs,
	positions: MropePositions,
	promptOfRow: Int32Array,
	caches: readonly KvCache[],
): Tensor2D {
	const prepared = model.prepare(inputs, positions);
	const features = prepared.vision && model.visual.forward(prepared.vision);
	const logits = model.prefill(prepared, features, (layer, k, v) => caches[layer].append(k, v));
	if (promptOfRow.length === logits.shape[0] && promptOfRow.every((p, row) => p === row)) return logits;
	for (const cache of caches) cache.selectRows(promptOfRow);
	return gather(logits, tensor1d(promptOfRow, "int32"));
}

function decode(model: Qwen2_5VLModel, rows: Row[], caches: readonly KvCache[]): Tensor2D {
	const generated = Math.max(...rows.map((row) => row.tokens.length));
	const cached = rows[0].promptMask.length + generated;
	const mask = new Int32Array(rows.length * cached).fill(1);
	rows.forEach((row, i) => {
		mask.set(row.promptMask, i * cached);
	});
	const newest = Int32Array.from(rows, (row) => row.tokens[row.tokens.length - 1]);
	const positions = Int32Array.from(rows, (row) => row.nextPosition);
	const additive = tensor4d(
		Float32Array.from(mask, (m) => (m ? 0 : MASKED)),
		[rows.length, 1, 1, cached],
	);
	return model.decodeStep(tensor1d(newest, "int32"), model.rotaryOf(positions), mask.includes(0) ? additive : undefined, (layer, k, v) =>
		caches[layer].append(k, v),
	);
}

/** @param logits [B, V] */
async function pickTokens(logits: Tensor2D, rows: Row[], options: GenerateOptions): Promise<ArrayLike<number>> {
	const { temperature = 0, repetitionPenalty = 1 } = options;
	if (temperature === 0 && repetitionPenalty === 1) {
		const best = tidy(() => argMax(logits, -1));
		const ids = await best.data();
		best.dispose();
		return ids;
	}
	const all = (await logits.data()) as Float32Array;
	const vocab = logits.shape[1];
	return rows.map((row, i) => {
		if (row.finishReason) return 0;
		const own = all.slice(i * vocab, (i + 1) * vocab);
		const previous = repetitionPenalty === 1 ? [] : [...row.prompt, ...row.tokens];
		if (temperature === 0) {
			processLogits(own, previous, { repetitionPenalty });
			return argmax(own);
		}
		processLogits(own, previous, options);
		return drawToken(own, row.random);
	});
}

/** Takes the finished rows out of the batch and the caches, once they are half of it (or all). */
function dropFinished(rows: Row[], caches: readonly KvCache[]): Row[] {
	const places = Array.from(rows.keys()).filter((i) => !rows[i].finishReason);
	if (places.length > rows.length / 2) return rows;
	if (places.length > 0) for (const cache of caches) cache.selectRows(Int32Array.from(places));
	return places.map((i) => rows[i]);
}
