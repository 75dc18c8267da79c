/** `run`'s config file: YAML, or JSON where its name ends so; one flat mapping with flag names as keys. */
import { readFile } from "node:fs/promises";
import { closest, distance } from "fastest-levenshtein";
import { parse } from "yaml";
import { z } from "zod";
import { type ConfigValues, normaliseConfig } from "./parse-options.js";
import { refusedFlags, refuseFlag } from "./refused-flags.js";
import { UsageError } from "./usage-error.js";

const mapping = z.record(z.string(), z.unknown());

/**
 * @param known the command's flags
 * @throws UsageError for a file that can't be read or parsed, and for a key that is unknown or can't be honoured
 */
export async function readConfig(file: string, known: readonly string[]): Promise<ConfigValues> {
	const parsed = mapping.safeParse(parseConfig(file, await readText(file)));
	if (!parsed.success) throw new UsageError(`${file}: expected a mapping from flag names to values, such as "batch_size: 8"`);
	const config = normaliseConfig(file, parsed.data);
	const refused = refusedFlags(known);
	for (const [key, value] of Object.entries(config.values)) {
		if (refused.includes(key)) refuseFlag(key, value, `${file}: ${key}`);
		else if (!known.includes(key)) throw new UsageError(`${file}: unknown key ${key}${suggestion(key, known)}`);
	}
	const values = Object.fromEntries(Object.entries(config.values).filter(([key, value]) => known.includes(key) && value !== null));
	return { file, values };
}

async function readText(file: string): Promise<string> {
	try {
		return await readFile(file, "utf8");
	} catch (error) {
		throw new UsageError(`config file ${file}: can't be read: ${(error as Error).message}`);
	}
}

function parseConfig(file: string, content: string): unknown {
	try {
		return file.endsWith(".json") ? JSON.parse(content) : parse(content);
	} catch (error) {
		throw new UsageError(`${file}: expected ${file.endsWith(".json") ? "JSON" : "YAML"}: ${(error as Error).message}`);
	}
}

function suggestion(key: string, known: readonly string[]): string {
	const near = closest(key, known);
	return distance(key, near) <= Math.max(2, key.length / 3) ? `; did you mean ${near}?` : "; see `tfjs-rft run --help` for the keys";
}
