/**
 * Building blocks of the flags' schemas. A schema takes a flag's text and a config file's JSON value alike; its message begins with
 * "expected", and what was got is added where it is reported.
 */
import { z } from "zod";

/** How a flag is shown in `--help`. */
export interface FlagInfo {
	help: string;
	/** What stands for its value, such as `N`; a flag without one is a switch. */
	value?: string;
	/** `repeat`: may be given several times; `words`: takes several words. Default: once, one word. */
	many?: "repeat" | "words";
}

const infos = z.registry<FlagInfo>();

/** A schema as a flag. */
export function flag<T extends z.ZodType>(schema: T, help: string, value?: string, many?: FlagInfo["many"]): T {
	infos.add(schema, { help, value, many });
	return schema;
}

/** @throws Error for a schema that was not made by `flag`: a mistake in options.ts. */
export function flagInfo(schema: z.ZodType): FlagInfo {
	const info = infos.get(schema);
	if (!info) throw new Error("expected a schema made by flag(), got another");
	return info;
}

const toNumber = (value: unknown) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value);

function numberWhere(holds: (value: number) => boolean, expected: string) {
	const isRight = (value: unknown) => typeof value === "number" && holds(value);
	return z.preprocess(toNumber, z.custom<number>(isRight, { error: `expected ${expected}` }));
}

/** A whole number, `min` or more. */
export const whole = (min = 1) =>
	numberWhere((value) => Number.isSafeInteger(value) && value >= min, min < 0 ? "a whole number" : `a whole number, ${min} or more`);

/** A number, `min` or more, `max` or less. */
export const real = (min: number, max = Number.POSITIVE_INFINITY) =>
	numberWhere(
		(value) => Number.isFinite(value) && value >= min && value <= max,
		max === Number.POSITIVE_INFINITY ? `a number, ${min} or more` : `a number from ${min} to ${max}`,
	);

/** A number above 0, `max` or less. */
export const positive = (max = Number.POSITIVE_INFINITY) =>
	numberWhere(
		(value) => Number.isFinite(value) && value > 0 && value <= max,
		max === Number.POSITIVE_INFINITY ? "a number above 0" : `a number above 0, ${max} or less`,
	);

/** Steps between two deeds; LightRFT's -1 is "never". */
export const interval = () =>
	numberWhere(
		(value) => value === -1 || (Number.isSafeInteger(value) && value >= 1),
		"a whole number, 1 or more, or -1 for never",
	).transform((steps) => (steps === -1 ? undefined : steps));

export const text = (expected = "text that is not empty") =>
	z.string({ error: `expected ${expected}` }).min(1, { error: `expected ${expected}` });

export const choice = <const T extends readonly [string, ...string[]]>(...names: T) =>
	z.enum(names, { error: `expected ${names.slice(0, -1).join(", ")} or ${names.at(-1)}` });

export const toggle = () => z.boolean({ error: "expected true or false" });
