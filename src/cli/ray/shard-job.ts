/** One shard as a Ray job: its command, and its way from submission to an end, with what is lost submitted again. */
import { followJob } from "./follow-job.js";
import type { RayJobs } from "./ray-jobs.js";

export interface ShardJob {
	/** Of all its submissions: `<name>-<attempt>`. */
	name: string;
	entrypoint: string;
	/** Whoever it belongs to, for the dashboard. */
	metadata: Record<string, string>;
}

export interface ShardOptions {
	/** CPUs and GPUs of a shard; 0: none. */
	cpus: number;
	gpus: number;
	/** Submissions after the first. */
	retries: number;
	signal: AbortSignal;
	/** Milliseconds between two looks. Default 1000. */
	every?: number;
	note: (line: string) => void;
	/** Judgements done and in all, as the job last printed them. */
	onProgress: (done: number, total: number) => void;
}

const MESSAGE_CHARS = 1500;

/**
 * Follows the shard's job if one is under way (an earlier run of this command submitted it), else submits one, until one has succeeded. Its
 * journal goes on from submission to submission, so that nothing is drawn twice.
 * @throws Error after too many losses, with what the last one printed; the signal's reason, when the job has been stopped
 */
export async function runShard(jobs: RayJobs, { name, entrypoint, metadata }: ShardJob, options: ShardOptions): Promise<void> {
	const { retries, signal, note, cpus, gpus, every } = options;
	const earlier = (await jobs.jobs()).filter(({ submission_id: id }) => id?.startsWith(`${name}-`));
	const underWay = earlier.find(({ status }) => status === "PENDING" || status === "RUNNING")?.submission_id ?? undefined;
	const first = 1 + Math.max(0, ...earlier.map(({ submission_id: id }) => Number(id?.slice(name.length + 1))));
	for (let attempt = 0; ; attempt++) {
		const id = attempt === 0 && underWay !== undefined ? underWay : `${name}-${first + attempt}`;
		signal.throwIfAborted();
		if (id !== underWay) await jobs.submit({ id, entrypoint, metadata, ...(cpus > 0 && { cpus }), ...(gpus > 0 && { gpus }) });
		let log = "";
		try {
			const onLog = (text: string) => {
				log = (log + text).slice(-MESSAGE_CHARS);
				reportProgress(log, options);
			};
			const { status, message } = await followJob(jobs, id, { signal, every, onLog });
			if (status === "SUCCEEDED") return;
			const loss = `Ray job ${id}: ${status}${message ? `: ${message.trim().split("\n")[0]}` : ""}`;
			if (attempt >= retries) throw new Error(`${loss}; given up after ${attempt + 1} submissions. It printed:\n${log.trim()}`);
			note(`${loss}; submitted again, and goes on from its journal`);
		} catch (error) {
			if (!signal.aborted) throw error;
			await jobs.stop(id);
			throw error;
		}
	}
}

/** Of the lines that a stage prints where there is no terminal: `sample: 12/48, 10 s, …`. */
function reportProgress(log: string, { onProgress }: ShardOptions): void {
	const last = [...log.matchAll(/^sample: (\d+)\/(\d+), /gm)].at(-1);
	if (last) onProgress(Number(last[1]), Number(last[2]));
}
