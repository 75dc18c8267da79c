/**
 * One child process of setup, with its output kept for the error message.
 *
 * Never a shell: arguments go as they are. The promise settles when the process has closed its pipes.
 */
import { spawn } from "node:child_process";

const OUTPUT_LIMIT = 64 * 1024;
const TAIL_LINES = 12;

/** What a finished command left. `code` is null when a signal ended it; `output` is stdout and stderr as they came. */
export interface CommandResult {
	code: number | null;
	stdout: string;
	output: string;
}

/**
 * Runs a program to its end; any exit code is a result, not an error.
 *
 * @throws the spawn error (`ENOENT` when there is no such program), or the signal's abort reason
 */
export function runCommand(
	program: string,
	args: readonly string[],
	{ env = process.env, cwd, signal }: { env?: NodeJS.ProcessEnv; cwd?: string; signal?: AbortSignal } = {},
): Promise<CommandResult> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, args, { env, cwd, signal, stdio: ["ignore", "pipe", "pipe"] });
		let stdout = "";
		let output = "";
		child.stdout.setEncoding("utf8").on("data", (text: string) => {
			stdout = (stdout + text).slice(-OUTPUT_LIMIT);
			output = (output + text).slice(-OUTPUT_LIMIT);
		});
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			output = (output + text).slice(-OUTPUT_LIMIT);
		});
		child.on("error", (error) => reject(signal?.aborted ? signal.reason : error));
		child.on("close", (code) => resolve({ code, stdout, output }));
	});
}

/** Why there is no such program to run, for a person. @throws what `runCommand` threw for another reason, such as an abort */
export function whyNotStarted(error: unknown): string {
	const { code } = error as NodeJS.ErrnoException;
	if (code === "ENOENT") return "not found";
	if (code === "EACCES") return "not a program that may be run";
	throw error;
}

/** The command as a person would type it. */
export function commandLine(program: string, args: readonly string[]): string {
	return [program, ...args].map((part) => (/^[\w./=:@,+-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`)).join(" ");
}

/** The last lines of a command's output. */
export function outputTail(output: string): string {
	return output.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
}
