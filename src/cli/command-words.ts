/** A command's options as the words that give them: what parsing those words gives is the options again. */
import { isDeepStrictEqual } from "node:util";
import type { z } from "zod";
import { flagInfo } from "./flag.js";

/**
 * @param options parsed by `schema`; those at their defaults are left out
 * @throws Error for a value that has no form on a command line, such as a mapping of a config file
 */
export function commandWords(schema: z.ZodObject, options: Readonly<Record<string, unknown>>): string[] {
	return Object.keys(schema.shape).flatMap((name) => {
		const flagSchema = schema.shape[name] as z.ZodType;
		const value = options[name];
		if (value === undefined || isDeepStrictEqual(value, flagSchema.safeParse(undefined).data)) return [];
		const { many } = flagInfo(flagSchema);
		if (value === true) return [`--${name}`];
		if (value === false) return [`--no-${name}`];
		if (!Array.isArray(value)) return [`--${name}`, wordOf(name, value)];
		const words = value.map((one) => wordOf(name, one));
		if (many === "repeat") return words.flatMap((word) => [`--${name}`, word]);
		return many === "words" ? [`--${name}`, ...words] : [`--${name}`, words.join(",")];
	});
}

function wordOf(name: string, value: unknown): string {
	if (typeof value === "string" || typeof value === "number") return String(value);
	throw new Error(`--${name}: expected a text or a number to pass on, got ${JSON.stringify(value).slice(0, 80)}; give it as a file`);
}
