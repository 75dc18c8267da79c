/**
 * One command as several processes of this machine, as torchrun does it: the same command line in each, with `--workers` and `--rank` added. Their
 * output is told apart by the rank before each line. Where one fails the others notice by themselves and save what they have; then they are ended.
 *
 * Signals go to this process, which hands them on once: the workers are process groups of their own, or a terminal's Ctrl-C would reach them twice.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { Interrupted, interruptedWith } from "./interrupt.js";
import type { Session } from "./session.js";

/** After a failure: until the others are asked to stop, and until they are made to. */
const [ASK_AFTER_MS, KILL_AFTER_MS] = [15_000, 120_000];

interface Ended {
	rank: number;
	code: number | null;
	signal: NodeJS.Signals | null;
}

/**
 * Starts this program again, so many times, and waits for all of them.
 *
 * @param name the command's @param wayOn what to do where one has failed
 * @throws Error naming the first that failed; Interrupted where the user stopped them
 */
export async function launchWorkers(processes: number, session: Session, name: string, wayOn: string): Promise<void> {
	const workers = (await freePorts(processes)).map((port) => `127.0.0.1:${port}`);
	session.note(`${processes} processes: ${workers.join(", ")}`);
	const children = workers.map((_, rank) => startWorker(workers, rank));
	const handOn = () => {
		const { reason } = session.signal;
		for (const child of children) child.kill(reason instanceof Interrupted ? reason.signalName : "SIGTERM");
	};
	session.signal.addEventListener("abort", handOn);
	const timers: NodeJS.Timeout[] = [];
	let failed: Ended | undefined;
	const ended = await Promise.all(
		children.map(async (child, rank) => {
			const end = await endOf(child, rank);
			if (end.code !== 0 && !failed) {
				failed = end;
				timers.push(
					setTimeout(() => killAll(children, "SIGTERM"), ASK_AFTER_MS),
					setTimeout(() => killAll(children, "SIGKILL"), KILL_AFTER_MS),
				);
			}
			return end;
		}),
	);
	for (const timer of timers) clearTimeout(timer);
	session.signal.removeEventListener("abort", handOn);
	if (failed === undefined) return;
	if (session.signal.aborted) throw interruptedWith(session.signal, `${name}: stopped; what the workers said is above`);
	const { rank, code, signal } = failed;
	const others = ended.filter((end) => end.rank !== rank && end.code === 0).length;
	throw new Error(
		`worker ${rank} of ${processes} ${signal ? `was ended by ${signal}` : `failed with exit code ${code}`}; its own lines say why. ` +
			`${others > 0 ? `${others} others had come to their end. ` : ""}${wayOn}`,
	);
}

/** Runs in a worker: a launcher that is gone takes its workers with it. */
export function endWithLauncher(): void {
	if (!process.channel) return;
	process.on("disconnect", () => process.exit(1));
	process.channel.unref();
}

function startWorker(workers: readonly string[], rank: number): ChildProcess {
	const [script, ...args] = process.argv.slice(1);
	const own = ["--processes", "1", "--workers", workers.join(","), "--rank", String(rank)];
	const child = spawn(process.execPath, [...process.execArgv, script, ...args, ...own], {
		detached: true,
		stdio: ["ignore", "pipe", "pipe", "ipc"],
		env: { ...process.env, ...shareOfMachine(workers.length, rank) },
	});
	for (const [from, to] of [
		[child.stdout, process.stdout],
		[child.stderr, process.stderr],
	] as const) {
		if (from) createInterface({ input: from }).on("line", (line) => to.write(`[${rank}] ${line}\n`));
	}
	return child;
}

/** Its threads and its GPU: the cores divided, and the GPU of its number; what the user set stays. */
function shareOfMachine(processes: number, rank: number): NodeJS.ProcessEnv {
	const threads = Math.max(1, Math.floor(availableParallelism() / processes));
	const visible = process.env.CUDA_VISIBLE_DEVICES?.split(",") ?? [];
	return {
		TF_NUM_INTRAOP_THREADS: process.env.TF_NUM_INTRAOP_THREADS ?? String(threads),
		CUDA_VISIBLE_DEVICES: visible.length === 1 ? visible[0] : (visible[rank] ?? String(rank)),
	};
}

function endOf(child: ChildProcess, rank: number): Promise<Ended> {
	return new Promise((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code, signal) => resolve({ rank, code, signal }));
	});
}

function killAll(children: readonly ChildProcess[], signal: NodeJS.Signals): void {
	for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill(signal);
}

/** Ports that nobody has now; all are asked for before the first is given back, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
	const servers = await Promise.all(
		Array.from({ length: count }, async () => {
			const server = createServer();
			await new Promise<void>((resolve, reject) => server.on("error", reject).listen(0, "127.0.0.1", resolve));
			return server;
		}),
	);
	return Promise.all(
		servers.map(async (server) => {
			const address = server.address();
			await new Promise((resolve) => server.close(resolve));
			if (address === null || typeof address === "string") throw new Error(`a TCP server has no port: ${address}`);
			return address.port;
		}),
	);
}
