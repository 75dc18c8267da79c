/** Starts the processes of one training run on this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import type { WorkerRun } from "./worker-run.js";

export interface StartedWorker {
	child: ChildProcess;
	ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

/** @param prefix before the command line, such as that of a network namespace */
export function startWorker(run: WorkerRun, addresses: readonly string[], rank: number, prefix: readonly string[] = []): StartedWorker {
	const input = JSON.stringify({ ...run, workers: addresses, rank });
	const [program, ...args] = [...prefix, process.execPath, "--import", "tsx", "test/trainer/worker-run.ts", input];
	const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, TF_NUM_INTRAOP_THREADS: "1" } });
	const out = { stdout: "", stderr: "" };
	child.stdout.on("data", (data) => (out.stdout += data));
	child.stderr.on("data", (data) => (out.stderr += data));
	return { child, ended: new Promise((resolve) => child.on("close", (code) => resolve({ code, ...out }))) };
}

/** All processes of a run. */
export function startWorkers(run: WorkerRun, addresses: readonly string[], prefix: (rank: number) => string[] = () => []): StartedWorker[] {
	return addresses.map((_, rank) => startWorker(run, addresses, rank, prefix(rank)));
}

/** What each of them printed. @throws where one failed */
export async function resultsOf(
	started: readonly StartedWorker[],
): Promise<Awaited<ReturnType<typeof import("./worker-run.js").workerRun>>[]> {
	const ended = await Promise.all(started.map(({ ended }) => ended));
	const failed = ended.findIndex(({ code }) => code !== 0);
	if (failed >= 0) throw new Error(`worker ${failed} ended with ${ended[failed].code}: ${ended[failed].stderr}`);
	return ended.map(({ stdout }) => JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
}

/** `127.0.0.1:port` of ports that are free now. */
export async function loopback(count: number): Promise<string[]> {
	const servers = await Promise.all(
		Array.from({ length: count }, () => {
			const server = createServer();
			return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
		}),
	);
	return Promise.all(
		servers.map((server) => {
			const address = server.address() as { port: number };
			return new Promise<string>((resolve) => server.close(() => resolve(`127.0.0.1:${address.port}`)));
		}),
	);
}
