/** The program as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Finished {
	code: number | null;
	stdout: string;
	stderr: string;
}

export function start(args: string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; finished: Promise<Finished> } {
	const child = spawn(process.execPath, ["--import", "tsx", "src/cli/main.ts", ...args], { cwd: ROOT, env: { ...process.env, ...env } });
	const out = { stdout: "", stderr: "" };
	child.stdout?.on("data", (data) => (out.stdout += data));
	child.stderr?.on("data", (data) => (out.stderr += data));
	return { child, finished: new Promise((resolve) => child.on("close", (code) => resolve({ code, ...out }))) };
}

export const cli = (args: string[], env?: NodeJS.ProcessEnv) => start(args, env).finished;

export async function succeed(args: string[]): Promise<Finished> {
	const finished = await cli(args);
	expect(finished.code, finished.stderr).toBe(0);
	return finished;
}
