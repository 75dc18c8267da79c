/**
 * A command from its schema: the schema's flags are declared to commander, which only splits the command line; every value is checked
 * by the schema (options.ts). LightRFT's flags that can't be honoured are declared too, hidden, so that they are answered by name.
 */
import { Command, Option } from "commander";
import type { z } from "zod";
import { flagInfo } from "./flag.js";
import { type ConfigValues, parseOptions } from "./parse-options.js";
import { refusedFlags, refuseFlag } from "./refused-flags.js";

export interface CommandDefinition<T extends z.ZodObject> {
	name: string;
	/** One line for `--help`. */
	summary: string;
	schema: T;
	/** An example for `--help`. */
	example: string;
	action: (options: z.output<T>) => Promise<void>;
	/** Names of the schema's values that are given as arguments, not as flags; the last may be a list. */
	positional?: readonly string[];
	/** Reads the config file that is the command's one argument, where it takes one. */
	readConfig?: (file: string, known: readonly string[]) => Promise<ConfigValues>;
}

export function defineCommand<T extends z.ZodObject>({
	name,
	summary,
	schema,
	example,
	action,
	positional = [],
	readConfig,
}: CommandDefinition<T>): Command {
	const command = new Command(name).description(summary).allowExcessArguments(false).helpOption("-h, --help", "this text");
	const names = Object.keys(schema.shape);
	for (const flagName of names.filter((name) => !positional.includes(name)))
		declareFlag(command, flagName, schema.shape[flagName] as z.ZodType);
	for (const refused of refusedFlags(names)) declareRefused(command, refused);
	command.option("--verbose", "print the stack of an error");
	command.addHelpText("after", `\nExample:\n  ${example}`);
	if (readConfig) command.argument("[config]", "YAML or JSON file; its keys are the flags' names, flags go before it");
	for (const argument of positional) declareArgument(command, argument, schema.shape[argument] as z.ZodType);
	return command.action(async (...parameters: unknown[]) => {
		const file = readConfig && typeof parameters[0] === "string" ? parameters[0] : undefined;
		const config = file === undefined ? undefined : await readConfig?.(file, names);
		const given = Object.entries(command.opts<Record<string, unknown>>()).filter(([key]) => names.includes(key));
		const arguments_ = positional.map((argument, i) => [argument, parameters[i]]);
		await action(parseOptions(schema, Object.fromEntries([...given, ...arguments_]), config));
	});
}

function declareFlag(command: Command, name: string, schema: z.ZodType): void {
	const { help, value, many } = flagInfo(schema);
	const parsed = schema.safeParse(undefined);
	const description = `${help}${parsed.success ? describeDefault(parsed.data) : " (required)"}`;
	if (value === undefined) command.addOption(new Option(`--${name}`, description));
	else {
		const option = new Option(`--${name} <${value}${many === "words" ? "..." : ""}>`, description);
		// Not commander's own lists for sources: those would swallow an argument that follows.
		if (many === "repeat") option.argParser((source, before: string[] | undefined) => [...(before ?? []), source]);
		command.addOption(option);
	}
	if (value === undefined && parsed.data === true) command.addOption(new Option(`--no-${name}`).hideHelp());
}

function declareArgument(command: Command, name: string, schema: z.ZodType): void {
	const { help, many } = flagInfo(schema);
	command.argument(`<${name}${many === "repeat" ? "..." : ""}>`, help);
}

function describeDefault(value: unknown): string {
	return value === undefined || value === false
		? ""
		: ` (default: ${value === true ? "on" : Array.isArray(value) ? value.join(" ") : String(value)})`;
}

function declareRefused(command: Command, name: string): void {
	command.addOption(new Option(`--${name} [value]`).hideHelp());
	command.on(`option:${name}`, (value: string | null) => refuseFlag(name, value, `--${name}`));
}
