/**
 * Records to windows of encoded jobs, ahead of their use. A job is one sample of one record; the samples of a record share
 * one encoding. Records are encoded a few at a time (image decoding runs on sharp's threads) and handed on in order.
 *
 * Bounded: a window is `windowBatches` batches of jobs, or fewer where their pixel values pass `MAX_WINDOW_BYTES`; it
 * always ends on a full batch, the last one apart.
 */
import { type PreferenceRecord, shownImages } from "../dataset/preference-record.js";
import { type EncodedConversation, ImageError, type Processor } from "../model/generative-model.js";
import { fillTemplate, judgeMessages, judgePromptText } from "./prompt.js";
import type { Rollout } from "./rollout.js";

/** A record as the model reads it, or why it can't. */
export interface EncodedRecord {
	record: PreferenceRecord;
	promptText: string;
	encoded: EncodedConversation | NonNullable<Rollout["error"]>;
}

/** One rollout to draw. */
export interface Job extends EncodedRecord {
	sampleIndex: number;
}

const RECORDS_AT_ONCE = 4;
const MAX_WINDOW_BYTES = 256 * 2 ** 20;

export async function* encodeWindows(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	processor: Processor,
	shape: { template: string; samplesPerRecord: number; batchSize: number; windowBatches: number; stop: AbortSignal },
): AsyncGenerator<Job[]> {
	let window: Job[] = [];
	let bytes = 0;
	for await (const encoded of encodeAhead(records, processor, shape)) {
		if (shape.stop.aborted) return;
		bytes += pixelBytes(encoded);
		for (let sampleIndex = 0; sampleIndex < shape.samplesPerRecord; sampleIndex++) {
			window.push({ ...encoded, sampleIndex });
			const batches = window.length / shape.batchSize;
			if (batches === shape.windowBatches || (Number.isInteger(batches) && bytes > MAX_WINDOW_BYTES)) {
				yield window;
				window = [];
				bytes = pixelBytes(encoded);
			}
		}
	}
	if (window.length > 0) yield window;
}

/** Keeps `RECORDS_AT_ONCE` encodings under way; yields in the records' order. */
async function* encodeAhead(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	processor: Processor,
	{ template, stop }: { template: string; stop: AbortSignal },
): AsyncGenerator<EncodedRecord> {
	const underWay: Promise<EncodedRecord>[] = [];
	for await (const record of records) {
		if (stop.aborted) return;
		underWay.push(encodeRecord(record, processor, template));
		if (underWay.length >= RECORDS_AT_ONCE) yield await (underWay.shift() as Promise<EncodedRecord>);
	}
	for (const encoding of underWay) yield await encoding;
}

/** Never rejects: what can't be encoded becomes an error of this one record. */
async function encodeRecord(record: PreferenceRecord, processor: Processor, template: string): Promise<EncodedRecord> {
	const question = fillTemplate(template, record.prompt);
	const promptText = judgePromptText(question);
	try {
		const encoded = await processor.encodeConversation(judgeMessages(shownImages(record), question), { addGenerationPrompt: true });
		return { record, promptText, encoded };
	} catch (error) {
		const message = error instanceof Error ? error.message : String(error);
		return { record, promptText, encoded: { kind: error instanceof ImageError ? "bad-image" : "error", message } };
	}
}

function pixelBytes({ encoded }: EncodedRecord): number {
	return "kind" in encoded ? 0 : encoded.images.reduce((sum, image) => sum + image.pixelValues.data.byteLength, 0);
}
