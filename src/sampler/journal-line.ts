/**
 * A journal's lines: JSON Lines whose first field is the CRC-32 of all that follows it, so that other tools can read them and a line that was cut or
 * changed is known without parsing it.
 *
 *   {"crc":"c3f51a09","journal":"tfjs-rft rollouts","version":1,"configuration":{…},"notes":{…}}
 *   {"crc":"09be772e","key":"5d0f…(32 hex digits)","time":"2026-11-24T12:00:00.000Z","rollout":{…}}
 */
import CRC32 from "crc-32";
import { z } from "zod";
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { FinishReason } from "../model/generative-model.js";
import type { JournalConfiguration } from "./journal-configuration.js";
import type { VerdictScore } from "./rollout.js";
import { rolloutShape } from "./rollout-shape.js";

const NAME = "tfjs-rft rollouts";
const VERSION = 1;

export interface JournalHeader {
	configuration: JournalConfiguration;
	/** Facts that texts do not depend on (who, when, whether reasoning was asked for); never compared. */
	notes: Readonly<Record<string, string | number | boolean>>;
}

/** A rollout without what the header and the record say already. */
export interface StoredRollout {
	record: PreferenceRecord;
	sampleIndex: number;
	seed: number;
	completion: string;
	numTokens: number;
	finishReason: FinishReason;
	forced?: true;
	score?: VerdictScore;
}

/** One finished rollout. */
export interface JournalEntry {
	/** See `rolloutKey`. */
	key: string;
	/** When it was written, ISO 8601, by that machine's clock; nothing depends on it. */
	time: string;
	rollout: StoredRollout;
}

const values = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const headerLine = z.object({
	journal: z.literal(NAME),
	version: z.literal(VERSION),
	configuration: z.strictObject({ model: values, processor: values, promptTemplate: z.string(), sampling: values }),
	notes: values,
});

const entryLine: z.ZodType<JournalEntry> = z.object({
	key: z.string(),
	time: z.string(),
	rollout: z.object({ ...rolloutShape, finishReason: z.enum(["stop", "length", "repetition"]) }),
});

const CRC_FIELD = /^\{"crc":"([0-9a-f]{8})",$/;
const CRC_LENGTH = '{"crc":"01234567",'.length;
const KEY_FIELD = /^"key":"([0-9a-f]{32})",$/;
const KEY_LENGTH = `"key":"${"0".repeat(32)}",`.length;

/** With its line feed. */
export const encodeHeader = ({ configuration, notes }: JournalHeader): Buffer =>
	encode({ journal: NAME, version: VERSION, configuration, notes });
/** With its line feed. */
export const encodeEntry = ({ key, time, rollout }: JournalEntry): Buffer => encode({ key, time, rollout });

function encode(fields: object): Buffer {
	const rest = Buffer.from(JSON.stringify(fields).slice(1));
	return Buffer.concat([Buffer.from(`{"crc":"${crcOf(rest)}",`), rest, Buffer.from("\n")]);
}

function crcOf(bytes: Uint8Array): string {
	return (CRC32.buf(bytes) >>> 0).toString(16).padStart(8, "0");
}

/** What is wrong with a line (without its line feed) as bytes, or undefined. */
export function damageOf(line: Buffer): string | undefined {
	const [, said] = CRC_FIELD.exec(line.toString("latin1", 0, CRC_LENGTH)) ?? [];
	if (said === undefined) return `expected {"crc":"…", first, got ${JSON.stringify(line.toString("latin1", 0, 24))}`;
	const found = crcOf(line.subarray(CRC_LENGTH));
	return found === said ? undefined : `its checksum is ${found}, expected ${said}`;
}

/** The key of a whole line, or undefined for a line that is no entry. */
export function keyOfLine(line: Buffer): string | undefined {
	return KEY_FIELD.exec(line.toString("latin1", CRC_LENGTH, CRC_LENGTH + KEY_LENGTH))?.[1];
}

/** @returns the header, or what is wrong with it. */
export function parseHeader(line: Buffer): JournalHeader | string {
	const damage = damageOf(line);
	if (damage !== undefined) return damage;
	const parsed = headerLine.safeParse(JSON.parse(line.toString()));
	if (parsed.success) return { configuration: parsed.data.configuration, notes: parsed.data.notes };
	return z.prettifyError(parsed.error);
}

/** @param line one that `damageOf` found whole @returns the entry, or what is wrong with it. */
export function parseEntry(line: Buffer): JournalEntry | string {
	const parsed = entryLine.safeParse(JSON.parse(line.toString()));
	return parsed.success ? parsed.data : z.prettifyError(parsed.error);
}
