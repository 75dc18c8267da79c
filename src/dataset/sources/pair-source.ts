/**
 * What a source is: a way to read preference pairs out of the rows of its files. Most have a pair in each row (`eachRow`); some have several,
 * and ranked images make pairs of rows that stand together. What becomes of a pair (images looked up, a record made) is not a source's business.
 */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { type CheckedRow, checkRow } from "../../files/check-row.js";
import type { JsonRow } from "../../files/parse-json-row.js";
import type { EmbeddedFile } from "../../files/read-tar-rows.js";
import type { PreferenceRecord } from "../preference-record.js";

/** An image path as written, or the image itself where the data file holds it. */
export type ImageReference = string | EmbeddedFile;

/** What a source reads: all of a record but what depends on where the row stands and how it is shown. */
export type PairContent = Pick<
	PreferenceRecord,
	"prompt" | "preferred" | "criteria" | "choiceDist" | "confidence" | "model1" | "model2"
> & {
	images: readonly [ImageReference, ImageReference];
	/** The fields that `images` came from, for messages. */
	imageFields: readonly [string, string];
};

/** People preferred neither image: nothing that a judge could be right about. */
export const TIE = "tie";

/** A pair, a tie, or what is wrong with a row. `value` is the row as it was read. */
export type ReadPair =
	| { row: number; value: unknown; pair: PairContent | typeof TIE }
	| ({ row: number; value?: unknown } & Omit<Extract<CheckedRow<never>, { ok: false }>, "ok">);

export interface PairSource {
	/** @param rows of one file */
	read(rows: AsyncIterable<JsonRow>): AsyncGenerator<ReadPair>;
	/** The folder that image paths are relative to, unless the user names one. */
	imageRoot(file: string): string;
}

export const ownFolder = (file: string) => dirname(resolve(file));

/** A source whose rows each hold one pair, or several. */
export function eachRow(check: (value: unknown) => CheckedRow<readonly (PairContent | typeof TIE)[]>, imageRoot = ownFolder): PairSource {
	return {
		imageRoot,
		async *read(rows) {
			for await (const read of rows) {
				if ("kind" in read) {
					yield { field: "", ...read };
					continue;
				}
				const { row, value } = read;
				const checked = check(value);
				if (checked.ok) for (const pair of checked.value) yield { row, value, pair };
				else yield badRow(read, checked);
			}
		},
	};
}

/** @param failed what `checkRow` found */
export function badRow({ row, value }: { row: number; value: unknown }, failed: Extract<CheckedRow<unknown>, { ok: false }>): ReadPair {
	const { field, kind, expected, got } = failed;
	return { row, field, kind, expected, got, ...(kind !== "too-deep" && { value }) };
}

/** A row's check by its schema alone. */
export const bySchema =
	(schema: z.ZodType<readonly (PairContent | typeof TIE)[]>) =>
	(value: unknown): CheckedRow<readonly (PairContent | typeof TIE)[]> =>
		checkRow(schema, value);

export const nonEmpty = z.string().refine((text) => text.trim() !== "", "a non-empty string");

const embedded = z.object({ bytes: z.instanceof(Uint8Array).nullish(), path: z.string().nullish() });

/** A path, or `{ bytes, path }` as Hugging Face's `Image` columns and tar shards have it. */
export const imageReference = z.unknown().transform((value, context): ImageReference => {
	const image = typeof value === "string" ? undefined : embedded.safeParse(value).data;
	if (image?.bytes?.length) return { path: image.path ?? "", bytes: image.bytes };
	const path = typeof value === "string" ? value : image?.path;
	if (path && path.trim() !== "") return path;
	const expected = typeof value === "string" ? "a non-empty string" : image ? "an image's bytes, or a path" : "string";
	context.addIssue({ code: "custom", message: expected });
	return z.NEVER;
});

/** Fields that are there and not null. */
export function given<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
	return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as { [K in keyof T]?: NonNullable<T[K]> };
}
