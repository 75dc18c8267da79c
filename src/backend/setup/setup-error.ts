/** The steps of setup, in the order they are taken. */
export type SetupStep = "platform" | "lock" | "python" | "download" | "extract" | "nvidia" | "kernels" | "compile" | "probe";

/**
 * A step of `setup` that failed. `message` holds all of it: the step, the command it ran, the end of
 * what that printed, and what the user can do.
 */
export class SetupError extends Error {
	override readonly name = "SetupError";
	/** The step that failed. */
	readonly step: SetupStep;
	/** The command line that was run, where the step ran one. */
	readonly command: string | undefined;
	/** The last lines that the command printed. */
	readonly output: string | undefined;
	/** What the user can do about it. */
	readonly wayOut: string;

	constructor(facts: { step: SetupStep; problem: string; wayOut: string; command?: string; output?: string; cause?: unknown }) {
		const { step, problem, wayOut, command, output, cause } = facts;
		const lines = [`setup, step "${step}": ${problem}`];
		if (command) lines.push(`  command: ${command}`);
		if (output) lines.push(...output.split("\n").map((line) => `  | ${line}`));
		lines.push(`  way out: ${wayOut}`);
		super(lines.join("\n"), { cause });
		this.step = step;
		this.command = command;
		this.output = output;
		this.wayOut = wayOut;
	}
}
