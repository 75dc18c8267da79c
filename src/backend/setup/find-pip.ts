import { runCommand, whyNotStarted } from "./run-command.js";

/** How pip is called: a program and its first arguments, e.g. `python3 -m pip`. */
export interface Pip {
	program: string;
	args: readonly string[];
	/** What `--version` printed, one line. */
	version: string;
}

const CANDIDATES: readonly (readonly [string, ...string[]])[] = [["python3", "-m", "pip"], ["python", "-m", "pip"], ["pip3"], ["pip"]];

/**
 * The first pip on PATH that answers, or what each candidate said instead.
 *
 * Environment: `TFJS_RFT_PYTHON`, where set, is the only interpreter tried.
 */
export async function findPip({
	env = process.env,
	signal,
}: {
	env?: NodeJS.ProcessEnv;
	signal?: AbortSignal;
} = {}): Promise<{ pip: Pip } | { tried: string[] }> {
	const candidates = env.TFJS_RFT_PYTHON ? ([[env.TFJS_RFT_PYTHON, "-m", "pip"]] as const) : CANDIDATES;
	const tried: string[] = [];
	for (const [program, ...args] of candidates) {
		const name = [program, ...args].join(" ");
		try {
			const { code, stdout, output } = await runCommand(program, [...args, "--version"], { env, signal });
			if (code === 0) return { pip: { program, args, version: stdout.trim() } };
			tried.push(`${name}: ${output.trim().split("\n").at(-1)}`);
		} catch (error) {
			tried.push(`${name}: ${whyNotStarted(error)}`);
		}
	}
	return { tried };
}
