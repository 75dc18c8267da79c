/** Starts launch.sh, here or as a Ray job, and waits for its end. What it prints goes to stderr. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { interruptedWith } from "../interrupt.js";
import { followJob } from "../ray/follow-job.js";
import { RayJobs } from "../ray/ray-jobs.js";
import type { Session } from "../session.js";
import { commandLine } from "./shell.js";

/** @throws Error with the exit code; Interrupted, when the engine has been stopped */
export async function launchHere(script: string, { signal }: Session): Promise<void> {
	signal.throwIfAborted();
	// A group of its own, so that every process of torchrun gets the signal.
	const child = spawn("bash", [script], { stdio: ["ignore", process.stderr, process.stderr], detached: true });
	const stop = () => child.pid !== undefined && process.kill(-child.pid, "SIGTERM");
	signal.addEventListener("abort", stop, { once: true });
	try {
		const [code, killedBy]: (number | string | null)[] = await once(child, "exit");
		if (signal.aborted) throw interruptedWith(signal, `train: ${script} was stopped; checkpoints that it wrote are there`);
		if (code === 0) return;
		const how = killedBy === null ? `exit code ${code}` : `${killedBy} (${constants.signals[killedBy as NodeJS.Signals]})`;
		throw new Error(`${script}: ended with ${how}; what it printed is above`);
	} finally {
		signal.removeEventListener("abort", stop);
	}
}

/** @throws Error with the job's message; Interrupted, when the job has been stopped */
export async function launchOnRay(
	script: string,
	address: string,
	{ gpus, id }: { gpus: number; id: string },
	session: Session,
): Promise<void> {
	const { signal, note } = session;
	const jobs = new RayJobs(address);
	note(`Ray ${await jobs.version()} at ${address}: ${id}`);
	await jobs.submit({
		id,
		entrypoint: commandLine(["bash", script]),
		cpus: 1,
		...(gpus > 0 && { gpus }),
		metadata: { from: "tfjs-rft train" },
	});
	try {
		const { status, message } = await followJob(jobs, id, { signal, onLog: (text) => note(text.trimEnd()) });
		if (status !== "SUCCEEDED") throw new Error(`Ray job ${id}: ${status}: ${message ?? "no message"}`);
	} catch (error) {
		if (!signal.aborted) throw error;
		await jobs.stop(id);
		throw interruptedWith(signal, `train: Ray job ${id} was stopped; checkpoints that it wrote are there`);
	}
}
