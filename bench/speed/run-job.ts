/** Runs one job of either side in a process of its own, so that its peak memory is its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { OurJob, OurResult } from "./our-jobs.js";
import { type Measurements, measured, seconds } from "./samples.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const RESULT = "RESULT ";
const FIRST_TOKEN = "FIRST_TOKEN";
/** Where the documented command puts the peer. */
const PEER_PYTHON = here("../.venv/bin/python");
/** Both sides compute on every core. */
export const THREADS = os.cpus().length;

/** The command line, `--peer` without a value meaning the documented environment. */
export function withPeerPath(args: readonly string[]): string[] {
	return args.flatMap((arg, i) => (arg === "--peer" && (args[i + 1] ?? "--").startsWith("--") ? [arg, PEER_PYTHON] : [arg]));
}

export async function runOurs(job: OurJob): Promise<OurResult> {
	const { result } = await run<OurResult>(process.execPath, ["--import", "tsx", here("our-job.ts"), JSON.stringify(job)], job.name);
	return result;
}

/** `npx tsup` must have built the package. */
export async function runOurFirstToken({ folder, dtype, eager }: OurJob): Promise<OurResult> {
	const args = [here("first-token.mjs"), folder, dtype, ...(eager ? ["eager"] : [])];
	const { result, firstToken } = await run<Measurements>(process.execPath, args, "first_token");
	return { measurements: { total_s: measured(firstToken), ...result } };
}

/** A job of bench/peer/peer_speed.py. */
export async function runPeer(python: string, { name, folder, dtype, settings }: Omit<OurJob, "eager">): Promise<Measurements> {
	const args = [here("../peer/peer_speed.py"), "--job", name, "--folder", folder, "--dtype", dtype, "--threads", String(THREADS)];
	const { result, firstToken } = await run<Measurements>(python, [...args, "--settings", JSON.stringify(settings)], `the peer's ${name}`);
	return firstToken.length === 0 ? result : { total_s: measured(firstToken), ...result };
}

export async function peerVersions(python: string): Promise<Record<string, string | number>> {
	const args = [here("../peer/peer_speed.py"), "--job", "versions", "--threads", String(THREADS)];
	return (await run<Record<string, string | number>>(python, args, "the peer's versions")).result;
}

/** @returns what the process printed after RESULT, and the seconds from before its start to FIRST_TOKEN, if it printed that */
async function run<T>(command: string, args: string[], what: string): Promise<{ result: T; firstToken: number[] }> {
	const started = seconds();
	const child = spawn(command, args, {
		stdio: ["ignore", "pipe", "pipe"],
		env: { ...process.env, OMP_NUM_THREADS: String(THREADS), CUDA_VISIBLE_DEVICES: "", HF_HUB_OFFLINE: "1", TF_CPP_MIN_LOG_LEVEL: "2" },
	});
	const exited = exitOf(child);
	const errors = text(child.stderr);
	let result: T | undefined;
	const firstToken: number[] = [];
	for await (const line of createInterface(child.stdout)) {
		if (line === FIRST_TOKEN) firstToken.push(seconds() - started);
		else if (line.startsWith(RESULT)) result = JSON.parse(line.slice(RESULT.length));
	}
	const code = await exited;
	if (result === undefined || code !== 0) throw new Error(`${what} ended with ${code}: ${(await errors).slice(-2000)}`);
	return { result, firstToken };
}

async function exitOf(child: ChildProcess): Promise<number | string> {
	const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
	return code ?? `signal ${signal}`;
}
