/**
 * Continuous batching: rows that end make room for waiting ones at once, so that no batch waits for its longest row. A prompt is read once
 * however many samples continue it; prompts that wait together, and are about as long, are read together.
 */
import { dispose, gather, tensor1d, tidy } from "../../backend/tf.js";
import type { EncodedConversation, FinishReason, GeneratedSample, GenerateStreamOptions, GenerationRequest } from "../generative-model.js";
import { rowRandom } from "../logits-processors.js";
import { repetitionDetector } from "../repetition-detector.js";
import { Arrivals } from "./arrivals.js";
import { type BatchRow, DecodeBatch } from "./decode-batch.js";
import { GuideRules } from "./guide-rules.js";
import type { Passes } from "./passes.js";
import { pickTokens, type SampledRow } from "./pick-tokens.js";
import { PromptReader, type ReadPrompts } from "./prompt-reader.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import { RowGuide, type ScorePoint } from "./row-guide.js";
import { tokenTree } from "./token-tree.js";

/** Most tokens of prompts that are read together, padding included. */
const MAX_PREFILL_TOKENS = 16384;
/** Largest share of padding among them. */
const MAX_PADDING = 1 / 8;

/** @throws what `requests` throws, after the rows that run; the signal's reason */
export async function* generateStream(
	model: Qwen2_5VLModel,
	passes: Passes,
	requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
	options: GenerateStreamOptions,
): AsyncGenerator<GeneratedSample> {
	const run = new StreamRun(model, passes, new Arrivals(requests), options);
	try {
		while (!run.ended) {
			options.signal?.throwIfAborted();
			await run.fill();
			yield* run.takeFinished();
			if (run.running > 0) await run.step();
			yield* run.takeFinished();
			await new Promise(setImmediate); // other work of the process gets its turn
		}
		run.arrivals.throwFailure();
	} finally {
		await run.close();
	}
}

interface Row extends BatchRow, SampledRow {
	request: number;
	sample: number;
	finishReason?: FinishReason;
	guide?: RowGuide;
	/** Told each token; whether the row goes round in circles. */
	repeats?: (token: number) => boolean;
	/** Where its answers are to be scored, before it goes on. */
	scorePoint?: ScorePoint;
	answerLogProbs?: readonly number[];
}

/** A request with its number. */
interface TakenRequest extends GenerationRequest {
	request: number;
}

/** Prompts that were read, with rows that have no slot yet. */
interface Queue {
	read: ReadPrompts;
	rows: { row: Row; prompt: number }[];
}

class StreamRun {
	private readonly reader: PromptReader;
	private readonly batch: DecodeBatch<Row>;
	private readonly finished: Row[] = [];
	private queue: Queue | undefined;
	/** Requests taken so far. */
	private taken = 0;
	private readonly rules: GuideRules | undefined;

	constructor(
		private readonly model: Qwen2_5VLModel,
		passes: Passes,
		readonly arrivals: Arrivals<GenerationRequest>,
		private readonly options: GenerateStreamOptions,
	) {
		this.reader = new PromptReader(model, passes);
		this.batch = new DecodeBatch(model, passes, options.batchSize ?? 32);
		this.rules = guideRules(model, options);
	}

	get running(): number {
		return this.batch.running;
	}

	get ended(): boolean {
		return this.arrivals.ended && this.arrivals.peek() === undefined && !this.queue && this.running === 0;
	}

	/**
	 * Gives free slots to rows that wait, reading prompts for them, until some end at their first token: those go out first, as the next request may
	 * depend on them. Waits for a request only where nothing runs.
	 */
	async fill(): Promise<void> {
		while (this.batch.free > 0 && this.finished.length === 0) {
			this.options.signal?.throwIfAborted();
			if (!this.queue) {
				if (this.running === 0) await this.arrivals.wait(this.options.signal);
				const group = this.nextGroup(this.batch.free);
				if (group.length === 0) return;
				this.queue = await this.read(group);
			}
			await this.start(this.queue);
			if (this.queue.rows.length === 0) this.closeQueue();
		}
	}

	/** One token of each row. */
	async step(): Promise<void> {
		const waiting = this.queue !== undefined || this.arrivals.peek() !== undefined;
		const result = await this.batch.step(waiting);
		const { rows, running } = this.batch;
		const next = await pickTokens(result, rows, this.options).finally(() => dispose([result.logits, result.best]));
		for (const [slot, row] of rows.entries()) if (row) this.append(row, next[slot]);
		await this.scoreAnswers(rows.filter((row) => row !== undefined));
		const more = this.queue !== undefined || !this.arrivals.ended;
		this.batch.release((row) => row.finishReason !== undefined, more);
		this.options.onStep?.(running, rows.length);
	}

	takeFinished(): GeneratedSample[] {
		return this.finished.splice(0).map(({ request, sample, tokens, finishReason, guide, answerLogProbs }) => {
			const ids = Int32Array.from(tokens);
			const optional = { ...(guide?.forced && { forced: true }), ...(answerLogProbs && { answerLogProbs }) };
			return {
				request,
				sample,
				tokens: ids,
				text: this.model.processor.decode(ids),
				finishReason: finishReason as FinishReason,
				...optional,
			};
		});
	}

	async close(): Promise<void> {
		this.closeQueue();
		this.batch.dispose();
		this.reader.dispose();
		await this.arrivals.close();
	}

	/** Requests that have arrived and are read together: enough for `free` rows, at most one of them split. */
	private nextGroup(free: number): TakenRequest[] {
		const group: TakenRequest[] = [];
		let [rows, tokens, longest] = [0, 0, 0];
		for (let next = this.arrivals.peek(); next && rows < free; next = this.arrivals.peek()) {
			const length = next.encoded.inputIds.length;
			const padded = Math.max(longest, length) * (group.length + 1);
			if (group.length > 0 && (padded > MAX_PREFILL_TOKENS || padded > (1 + MAX_PADDING) * (tokens + length))) break;
			[rows, tokens, longest] = [rows + next.seeds.length, tokens + length, Math.max(longest, length)];
			group.push({ request: this.taken++, ...this.arrivals.take() });
		}
		return group;
	}

	private async read(group: readonly TakenRequest[]): Promise<Queue> {
		const begun = this.rules?.answers.straight ? this.rules.opening.tokens.slice(0, -1) : [];
		const read = await this.reader.read(
			group.map(({ encoded }) => withTokens(encoded, begun)),
			this.options.signal,
		);
		const rows = group.flatMap(({ request, encoded, seeds }, prompt) =>
			seeds.map((seed, sample) => {
				const nextPosition = read.nextPositions[prompt];
				const row: Row = { request, sample, prompt: encoded.inputIds, tokens: [], newest: 0, nextPosition, random: rowRandom(seed) };
				if (this.rules) row.guide = new RowGuide(this.rules);
				if (this.options.repetitionDetection) row.repeats = repetitionDetector(this.options.repetitionDetection);
				for (const token of begun) this.say(row, token);
				return { prompt, row };
			}),
		);
		return { read, rows };
	}

	/** As many rows of the queue as there are free slots get their first token and, if they go on, a slot. */
	private async start({ read, rows }: Queue): Promise<void> {
		const starting = rows.splice(0, this.batch.free);
		const promptOfRow = starting.map(({ prompt }) => prompt);
		const first = tidy(() => {
			const index = tensor1d(promptOfRow, "int32");
			return { logits: gather(read.logits, index), best: gather(read.best, index) };
		});
		const own = starting.map(({ row }) => row);
		const next = await pickTokens(first, own, this.options).finally(() => dispose([first.logits, first.best]));
		for (const [i, row] of own.entries()) this.append(row, next[i]);
		const going = starting.filter(({ row }) => !row.finishReason || row.scorePoint);
		if (going.length === 0) return;
		this.batch.admit(
			going.map(({ row }) => row),
			read,
			going.map(({ prompt }) => prompt),
		);
		await this.scoreAnswers(going.map(({ row }) => row));
		if (going.some(({ row }) => row.finishReason)) this.batch.release((row) => row.finishReason !== undefined, true);
	}

	private append(row: Row, token: number): void {
		const { maxNewTokens = 256, eosTokenIds = this.model.eosTokenIds } = this.options;
		const repeats = this.say(row, token);
		if (eosTokenIds.includes(token)) row.finishReason = "stop";
		else if (row.tokens.length >= maxNewTokens) row.finishReason = "length";
		else if (repeats) row.finishReason = "repetition";
		row.scorePoint = row.guide?.takeScorePoint();
		if (row.finishReason && !row.scorePoint) this.finished.push(row);
	}

	/** @returns whether the row goes round in circles */
	private say(row: Row, token: number): boolean {
		row.tokens.push(token);
		row.newest = token;
		row.guide?.push(token);
		return row.repeats?.(token) ?? false;
	}

	/** Of the rows that have come to their answer, which are in the batch: how likely each answer is there. */
	private async scoreAnswers(rows: readonly Row[]): Promise<void> {
		const asked = rows.flatMap((row) => {
			const { scorePoint } = row;
			if (!scorePoint) return [];
			const { back, tails } = scorePoint;
			const root = row.tokens.at(-1 - back) ?? (row.prompt.at(-1) as number);
			return [{ row, back, tree: tokenTree(root, tails) }];
		});
		if (asked.length === 0) return;
		const logProbs = await this.batch.lookAhead(asked);
		for (const [i, { row, tree }] of asked.entries()) {
			row.answerLogProbs = tree.paths.map((path) => path.reduce((sum, edge) => sum + logProbs[i][edge], 0));
			row.scorePoint = undefined;
			if (row.finishReason) this.finished.push(row);
		}
	}

	private closeQueue(): void {
		if (this.queue) dispose([this.queue.read.logits, this.queue.read.best, ...this.queue.read.keys, ...this.queue.read.values]);
		this.queue = undefined;
	}
}

/** Undefined where rows may say what they like. */
function guideRules({ processor, config }: Qwen2_5VLModel, { answers, thinkingBudget }: GenerateStreamOptions): GuideRules | undefined {
	if (!answers || !(answers.only || answers.score || answers.straight || thinkingBudget !== undefined)) return undefined;
	const { encodeText, textOf } = processor;
	if (!encodeText || !textOf) throw new TypeError("generate: answers: expected a processor with encodeText and textOf, got one without");
	const vocabulary = { size: config.text.vocabSize, encode: encodeText.bind(processor), textOf: textOf.bind(processor) };
	return new GuideRules(vocabulary, answers, thinkingBudget);
}

function withTokens(encoded: EncodedConversation, tokens: readonly number[]): EncodedConversation {
	if (tokens.length === 0) return encoded;
	return { ...encoded, inputIds: Int32Array.from([...encoded.inputIds, ...tokens]) };
}
