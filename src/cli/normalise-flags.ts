/**
 * Flags in either spelling, `--max-new-tokens` and `--max_new_tokens`, and under another name that users bring along, become the one
 * name that is declared. What is not a known flag is left as it was typed, so that errors show that.
 */

/** Dashes and underscores are the same. */
const fold = (name: string) => name.replaceAll("-", "_");

/**
 * @param argv the arguments, program name left out; nothing after `--` is changed
 * @param names declared long flags without their leading dashes, such as `max_new_tokens` and `no-use_cot`
 * @param aliases other name → declared name
 */
export function normaliseFlags(argv: readonly string[], names: Iterable<string>, aliases: Readonly<Record<string, string>> = {}): string[] {
	const canonical = new Map([...names].map((name) => [fold(name), name]));
	for (const [alias, name] of Object.entries(aliases)) canonical.set(fold(alias), name);
	const end = argv.indexOf("--");
	return argv.map((arg, i) => {
		const [, name, value = ""] = /^--([^=]+)(=.*)?$/s.exec(arg) ?? [];
		if (name === undefined || (end >= 0 && i >= end)) return arg;
		const known = canonical.get(fold(name));
		return known === undefined ? arg : `--${known}${value}`;
	});
}

/** The same for a key of a config file. */
export function normaliseKey(key: string, aliases: Readonly<Record<string, string>> = {}): string {
	const folded = fold(key);
	return Object.hasOwn(aliases, folded) ? aliases[folded] : folded;
}
