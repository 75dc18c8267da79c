/**
 * Records as the model reads them, ahead of their use: a few are encoded at a time (images are decoded on sharp's threads) and handed on in
 * order. Bounded: a record is asked for when one is taken.
 */
import { type PreferenceRecord, shownImages } from "../dataset/preference-record.js";
import { type EncodedConversation, ImageError, type Processor } from "../model/generative-model.js";
import { criteriaText, fillTemplate, judgeMessages, judgePromptText } from "./prompt.js";
import type { Rollout } from "./rollout.js";

/** A record as the model reads it, or why it can't. */
export interface EncodedRecord {
	record: PreferenceRecord;
	promptText: string;
	/** Absent where every rollout of the record is in the journal: then it need not be read. */
	encoded?: EncodedConversation | NonNullable<Rollout["error"]>;
	/** Of its samples, with a journal and an image that can be read. */
	keys?: string[];
}

export interface EncodeRecordsOptions {
	template: string;
	/** No more records are asked for once it is aborted. */
	stop: AbortSignal;
	/** The keys of a record's rollouts, and whether one is in the journal. Default: there is no journal. */
	keysOf?: (record: PreferenceRecord) => Promise<string[]>;
	isStored?: (key: string) => boolean;
}

const RECORDS_AT_ONCE = 4;

/** Keeps `RECORDS_AT_ONCE` encodings under way; yields in the records' order. @throws what `records` throws, after the records before it */
export async function* encodeRecords(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	processor: Processor,
	options: EncodeRecordsOptions,
): AsyncGenerator<EncodedRecord> {
	const underWay: Promise<EncodedRecord>[] = [];
	let failure: { error: unknown } | undefined;
	try {
		for await (const record of records) {
			if (options.stop.aborted) return;
			underWay.push(encodeRecord(record, processor, options));
			if (underWay.length >= RECORDS_AT_ONCE) yield await (underWay.shift() as Promise<EncodedRecord>);
		}
	} catch (error) {
		failure = { error };
	}
	for (const encoding of underWay) yield await encoding;
	if (failure) throw failure.error;
}

/** Never rejects: what can't be encoded becomes an error of this one record. */
async function encodeRecord(
	record: PreferenceRecord,
	processor: Processor,
	{ template, keysOf, isStored = () => false }: EncodeRecordsOptions,
): Promise<EncodedRecord> {
	const question = fillTemplate(template, record.prompt) + criteriaText(record.criteria);
	const promptText = judgePromptText(question);
	try {
		const keys = await keysUnlessUnreadable(record, keysOf);
		if (keys?.every(isStored)) return { record, promptText, keys };
		const encoded = await processor.encodeConversation(judgeMessages(shownImages(record), question), { addGenerationPrompt: true });
		return { record, promptText, encoded, ...(keys && { keys }) };
	} catch (error) {
		const message = error instanceof Error ? error.message : String(error);
		return { record, promptText, encoded: { kind: error instanceof ImageError ? "bad-image" : "error", message } };
	}
}

/** An image that can't be read has no key; what is wrong with it is for the processor to say, with and without a journal alike. */
async function keysUnlessUnreadable(record: PreferenceRecord, keysOf: EncodeRecordsOptions["keysOf"]): Promise<string[] | undefined> {
	try {
		return await keysOf?.(record);
	} catch (error) {
		if (error instanceof ImageError) return undefined;
		throw error;
	}
}
