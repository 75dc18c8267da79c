/**
 * Pairs in a form that nobody foresaw, described by a mapping: where in a row its caption, its two images and the preference are.
 *
 *   { prompt: "caption", imageA: "images.0.path", imageB: "images.1.path", preference: { field: "vote", A: ["left"], B: ["right"], tie: ["same"] } }
 *
 * A field is a path with dots; a name that itself has dots, such as a tar shard's "0.jpg", is found first.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { checkRow } from "../../files/check-row.js";
import { eachRow, given, imageReference, nonEmpty, type PairContent, type PairSource, TIE } from "./pair-source.js";

const fieldPath = z.string().min(1);
const label = z.union([z.string(), z.number(), z.boolean()]);
const labels = z.array(label).min(1);

const preferenceMapping = z.union([
	z.strictObject({ field: fieldPath, A: labels, B: labels, tie: labels.optional() }),
	z.strictObject({ scoreA: fieldPath, scoreB: fieldPath, lowerIsBetter: z.boolean().optional() }),
	z.strictObject({ always: z.enum(["A", "B"]) }),
]);

const pairMapping = z.strictObject({
	prompt: fieldPath,
	imageA: fieldPath,
	imageB: fieldPath,
	preference: preferenceMapping,
	criteria: fieldPath.optional(),
	confidence: fieldPath.optional(),
	choiceDist: fieldPath.optional(),
	modelA: fieldPath.optional(),
	modelB: fieldPath.optional(),
});

/**
 * Where a row's fields are. `preference` is one of
 * - `{ field, A, B, tie? }`: a field, and its values that mean that image A or B was preferred, or neither; another value is a bad row;
 * - `{ scoreA, scoreB, lowerIsBetter? }`: two numbers, such as votes or ranks; equal ones are a tie;
 * - `{ always: "A" }`: image A is the chosen one in every row.
 */
export type PairMapping = z.input<typeof pairMapping>;

const EXAMPLE = '{ prompt: "caption", imageA: "chosen", imageB: "rejected", preference: { always: "A" } }';

/** @throws TypeError for a mapping that is none: which field, expected, got. */
export function checkPairMapping(mapping: unknown, where = "mapping"): PairMapping {
	const checked = checkRow(pairMapping, mapping);
	if (checked.ok) return checked.value;
	const { field, expected, got } = checked;
	const named = field === "" ? where : `${where}: ${field}`;
	throw new TypeError(`${named}: expected ${expected === "Invalid input" ? "another form" : expected}, got ${got}; such as ${EXAMPLE}`);
}

/**
 * Reads a mapping from a YAML or JSON file.
 * @throws TypeError for a file that holds no mapping; the file system's error for one that can't be read.
 */
export async function readPairMapping(file: string): Promise<PairMapping> {
	const text = await readFile(file, "utf8");
	const { parse } = await import("yaml"); // 70 files that most programs need not load
	let mapping: unknown;
	try {
		mapping = parse(text); // JSON is YAML
	} catch (cause) {
		throw new TypeError(`${file}: expected YAML or JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
	}
	return checkPairMapping(mapping, file);
}

const content = z.object({
	prompt: nonEmpty,
	imageA: imageReference,
	imageB: imageReference,
	preference: z.union([z.literal([0, 1]), z.literal(TIE)]),
	criteria: z.string().nullish(),
	confidence: z.number().min(0).max(1).nullish(),
	choiceDist: z.array(z.number().nonnegative()).min(2).nullish(),
	modelA: z.string().nullish(),
	modelB: z.string().nullish(),
});

/** The source of a mapping; its rows are named in messages as they are in the file. */
export function mappedPairs(mapping: PairMapping): PairSource {
	const { preference, ...fields } = mapping;
	return eachRow((row) => {
		const chosen = preferred(row, preference);
		if (typeof chosen === "object") return { ok: false, kind: "wrong-type", ...chosen };
		const found = Object.fromEntries(Object.entries(fields).map(([name, path]) => [name, at(row, path)]));
		const checked = checkRow(content, { ...found, preference: chosen });
		if (!checked.ok) return { ...checked, field: inFile(checked.field, fields) };
		return { ok: true, value: [toPair(checked.value, fields)] };
	});
}

function toPair(value: z.output<typeof content>, { imageA, imageB }: Pick<PairMapping, "imageA" | "imageB">): PairContent | typeof TIE {
	const { prompt, preference, criteria, confidence, choiceDist, modelA: model1, modelB: model2 } = value;
	if (preference === TIE) return TIE;
	const images = [value.imageA, value.imageB] as const;
	return {
		...{ prompt, images, imageFields: [imageA, imageB], preferred: preference },
		...given({ criteria: criteria || undefined, confidence, choiceDist, model1, model2 }),
	};
}

type Failed = { field: string; expected: string; got: string };

function preferred(row: unknown, mapping: PairMapping["preference"]): 0 | 1 | typeof TIE | Failed {
	if ("always" in mapping) return mapping.always === "A" ? 0 : 1;
	if ("field" in mapping) {
		const { field, A, B, tie = [] } = mapping;
		const value = at(row, field);
		const is = (values: readonly unknown[]) => values.includes(value);
		if (is(A)) return 0;
		if (is(B)) return 1;
		return is(tie) ? TIE : { field, expected: `one of ${JSON.stringify([...A, ...B, ...tie])}`, got: shown(value) };
	}
	const scores: number[] = [];
	for (const field of [mapping.scoreA, mapping.scoreB]) {
		const score = at(row, field);
		if (typeof score !== "number" || !Number.isFinite(score)) return { field, expected: "number", got: shown(score) };
		scores.push(score);
	}
	if (scores[0] === scores[1]) return TIE;
	return scores[0] > scores[1] !== (mapping.lowerIsBetter ?? false) ? 0 : 1;
}

const shown = (value: unknown) => (value === undefined ? "nothing" : String(JSON.stringify(value)).slice(0, 60));

/** `choiceDist.1` of the record is `votes.1` of the row. */
function inFile(field: string, fields: Readonly<Record<string, string | undefined>>): string {
	const [name, ...rest] = field.split(".");
	return [fields[name] ?? name, ...rest].join(".");
}

function at(row: unknown, path: string): unknown {
	if (typeof row !== "object" || row === null) return undefined;
	if (Object.hasOwn(row, path)) return Reflect.get(row, path);
	let value: unknown = row;
	for (const step of path.split(".")) {
		if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
		value = Reflect.get(value, step);
	}
	return value;
}
