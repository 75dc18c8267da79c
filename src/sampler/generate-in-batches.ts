/**
 * `generateStream` for a model that has none: batch by batch. Inside a window of batches rows are sorted by prompt length, so that little
 * is padded; the next window's requests are asked for while the current one is generated.
 *
 * Bounded: a window is `WINDOW_BATCHES` batches of rows, or fewer where their pixel values pass `MAX_WINDOW_BYTES`; it always ends on a
 * full batch, the last one apart.
 */
import type {
	EncodedConversation,
	GeneratedSample,
	GenerateStreamOptions,
	GenerationRequest,
	GenerativeModel,
} from "../model/generative-model.js";

const WINDOW_BATCHES = 8;
const MAX_WINDOW_BYTES = 256 * 2 ** 20;

/** One sample to draw. */
interface Row {
	request: number;
	sample: number;
	encoded: EncodedConversation;
	seed: number;
}

/** @throws what `requests` throws, after the rows before it; the signal's reason; what the model throws */
export async function* generateInBatches(
	model: GenerativeModel,
	requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
	{ batchSize = 32, ...options }: GenerateStreamOptions,
): AsyncGenerator<GeneratedSample> {
	const windows = rowWindows(requests, batchSize);
	/** A failure is thrown where the window is awaited, after the rows before it are out; until then it is not unhandled. */
	const startNext = () => {
		const window = windows.next();
		window.catch(() => undefined);
		return window;
	};
	let next = startNext();
	try {
		for (;;) {
			options.signal?.throwIfAborted();
			const window = await next;
			if (window.done) return;
			next = startNext();
			const rows = window.value.sort((a, b) => b.encoded.inputIds.length - a.encoded.inputIds.length);
			for (let from = 0; from < rows.length; from += batchSize)
				yield* await generateBatch(rows.slice(from, from + batchSize), model, options);
		}
	} finally {
		await windows.return(undefined);
	}
}

async function generateBatch(batch: Row[], model: GenerativeModel, options: GenerateStreamOptions): Promise<GeneratedSample[]> {
	options.signal?.throwIfAborted();
	// The samples of a request share its encoding: each prompt is read once, however many rows continue it.
	const prompts = [...new Set(batch.map(({ encoded }) => encoded))];
	const place = new Map(prompts.map((prompt, i) => [prompt, i]));
	const promptOfRow = batch.map(({ encoded }) => place.get(encoded) as number);
	const inputs = model.processor.collate(prompts, { paddingSide: "left" });
	const seeds = batch.map(({ seed }) => seed);
	const { tokens, texts, finishReasons, forced, answerLogProbs } = await model.generate(inputs, { ...options, seeds, promptOfRow });
	return batch.map(({ request, sample }, i) => {
		const optional = { ...(forced?.[i] && { forced: true }), ...(answerLogProbs?.[i] && { answerLogProbs: answerLogProbs[i] }) };
		return { request, sample, tokens: tokens[i], text: texts[i], finishReason: finishReasons[i], ...optional };
	});
}

async function* rowWindows(
	requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
	batchSize: number,
): AsyncGenerator<Row[]> {
	let window: Row[] = [];
	let bytes = 0;
	let request = 0;
	let failure: { error: unknown } | undefined;
	try {
		for await (const { encoded, seeds } of requests) {
			bytes += pixelBytes(encoded);
			for (const [sample, seed] of seeds.entries()) {
				window.push({ request, sample, encoded, seed });
				const batches = window.length / batchSize;
				if (batches === WINDOW_BATCHES || (Number.isInteger(batches) && bytes > MAX_WINDOW_BYTES)) {
					yield window;
					window = [];
					bytes = pixelBytes(encoded);
				}
			}
			request++;
		}
	} catch (error) {
		failure = { error };
	}
	if (window.length > 0) yield window;
	if (failure) throw failure.error;
}

function pixelBytes({ images }: EncodedConversation): number {
	return images.reduce((sum, image) => sum + image.pixelValues.data.byteLength, 0);
}
