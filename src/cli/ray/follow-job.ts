/** A submitted job until it ends: polled, because the API has no other way. A dashboard that is away for a while is waited for. */
import { setTimeout as sleep } from "node:timers/promises";
import { RayError, type RayJob, type RayJobs } from "./ray-jobs.js";

export interface FollowOptions {
	/** @throws its reason; the job goes on. */
	signal?: AbortSignal;
	/** Milliseconds between two looks. Default 1000. */
	every?: number;
	/** Looks without an answer until that is an error. Default 60. */
	patience?: number;
	/** What was printed since the last look. */
	onLog?: (text: string) => void;
}

export type EndedJob = RayJob | { status: "LOST"; message: string };

/**
 * @returns the job as it ended; `LOST` where the cluster forgot it
 * @throws RayError where the cluster stays away
 */
export async function followJob(
	jobs: RayJobs,
	id: string,
	{ signal, every = 1000, patience = 60, onLog }: FollowOptions = {},
): Promise<EndedJob> {
	let [printed, silent] = [0, 0];
	while (true) {
		signal?.throwIfAborted();
		try {
			const job = await jobs.job(id);
			if (job === undefined) return { status: "LOST", message: `${jobs.address} does not know ${id}; its head was restarted` };
			const text = onLog ? await logsOf(jobs, id) : "";
			if (text.length > printed) onLog?.(text.slice(printed));
			printed = Math.max(printed, text.length);
			if (job.status !== "PENDING" && job.status !== "RUNNING") return job;
			silent = 0;
		} catch (error) {
			if (!(error instanceof RayError) || ++silent >= patience) throw error;
		}
		await sleep(every, undefined, { signal }).catch((error) => {
			if (!signal?.aborted) throw error;
		});
	}
}

/** A node that is gone has taken its jobs' logs with it; what became of a job is known all the same. */
async function logsOf(jobs: RayJobs, id: string): Promise<string> {
	try {
		return await jobs.logs(id);
	} catch (error) {
		if (error instanceof RayError) return "";
		throw error;
	}
}
