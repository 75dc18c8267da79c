#!/usr/bin/env node
/** The program `tfjs-rft`: its commands, and what becomes of their errors. */
import { inspect } from "node:util";
import { Command, CommanderError } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { compactCommand } from "./compact.js";
import { convertCommand } from "./convert.js";
import { doctorCommand } from "./doctor.js";
import { evaluateCommand } from "./evaluate.js";
import { EXIT_CODES_HELP, exitCodeOf } from "./exit-codes.js";
import { filterCommand } from "./filter.js";
import { inspectCommand } from "./inspect.js";
import { Interrupted } from "./interrupt.js";
import { mergeCommand } from "./merge.js";
import { mergeAdapterCommand } from "./merge-adapter.js";
import { normaliseFlags } from "./normalise-flags.js";
import { ALIASES } from "./parse-options.js";
import { reportCommand } from "./report.js";
import { runCommand } from "./run.js";
import { sampleCommand } from "./sample.js";
import { openSession } from "./session.js";
import { setupCommand } from "./setup.js";
import { trainCommand } from "./train.js";

const session = openSession();
const commands = [
	...[runCommand, sampleCommand, convertCommand, trainCommand, evaluateCommand, filterCommand, reportCommand],
	...[mergeAdapterCommand, inspectCommand, compactCommand, mergeCommand, setupCommand, doctorCommand],
].map((command) => command(session));
const program = new Command("tfjs-rft")
	.description(packageJson.description)
	.version(packageJson.version)
	.helpCommand(false)
	.addHelpText("after", EXIT_CODES_HELP);
for (const command of commands) program.addCommand(command.exitOverride().addHelpText("after", EXIT_CODES_HELP));

const flags = commands.flatMap(({ options }) => options.map(({ long }) => long?.slice(2) ?? ""));
try {
	await program.exitOverride().parseAsync(normaliseFlags(process.argv.slice(2), flags, ALIASES), { from: "user" });
} catch (error) {
	process.exitCode = exitCodeOf(error);
	// Commander has printed its own.
	if (!(error instanceof CommanderError)) process.stderr.write(`${describe(error)}\n`);
}

function describe(error: unknown): string {
	if (process.argv.includes("--verbose") || process.env.DEBUG) return inspect(error);
	if (error instanceof Interrupted) return error.message;
	return `error: ${error instanceof Error ? error.message : String(error)}`;
}
