/**
 * A Ray cluster's Jobs REST API: POST /api/jobs/ submits, GET follows, POST …/stop ends. The dashboard serves it (port 8265); no Python here.
 * https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
 *
 * Neither encrypted nor authenticated by itself: who reaches the port runs commands on the cluster. A token (Ray's own
 * RAY_AUTH_TOKEN) is sent where it is set.
 */
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { text as readText } from "node:stream/consumers";
import { z } from "zod";
import { UsageError } from "../usage-error.js";

export const JOB_STATUSES = ["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"] as const;

const job = z.object({
	/** Null for jobs that were not submitted, such as an interactive driver. */
	submission_id: z.string().nullish(),
	status: z.enum(JOB_STATUSES),
	message: z.string().nullish(),
	driver_exit_code: z.number().nullish(),
});
const submitted = z.object({ submission_id: z.string() });
const logs = z.object({ logs: z.string() });
const version = z.object({ ray_version: z.string() });

export type RayJob = z.output<typeof job>;

export interface JobRequest {
	/** A line of shell. */
	entrypoint: string;
	/** Of this submission; the cluster takes each once. */
	id: string;
	env?: Record<string, string>;
	/** CPUs and GPUs that its command holds. With one of them it may run on any node, without on the head only. */
	cpus?: number;
	gpus?: number;
	/** Shown by the dashboard. */
	metadata?: Record<string, string>;
}

const TIMEOUT_MS = 30_000;

/** The cluster did not answer, or not as a cluster does. `status` is HTTP's, where there was an answer. */
export class RayError extends Error {
	override readonly name = "RayError";
	constructor(
		message: string,
		readonly status?: number,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

export class RayJobs {
	private readonly base: URL;

	/** @param address of the dashboard. @throws UsageError for another thing */
	constructor(
		readonly address: string,
		private readonly token = process.env.RAY_AUTH_TOKEN,
	) {
		const base = URL.canParse(address) ? new URL(address) : undefined;
		if (base?.protocol !== "http:" && base?.protocol !== "https:")
			throw new UsageError(`--ray: expected the address of a Ray dashboard, such as http://127.0.0.1:8265, got ${JSON.stringify(address)}`);
		this.base = new URL(`${base.href.replace(/\/+$/, "")}/`);
	}

	/** @throws RayError where no cluster is at the address */
	async version(): Promise<string> {
		return (await this.ask("GET", "api/version", version)).ray_version;
	}

	/** @throws RayError, also for an id that was submitted before */
	async submit({ entrypoint, id, env = {}, cpus, gpus, metadata }: JobRequest): Promise<void> {
		await this.ask("POST", "api/jobs/", submitted, {
			...{ entrypoint, submission_id: id, metadata, runtime_env: { env_vars: env } },
			...(cpus !== undefined && { entrypoint_num_cpus: cpus }),
			...(gpus !== undefined && { entrypoint_num_gpus: gpus }),
		});
	}

	/** @returns undefined for a job that the cluster doesn't know, as after its head's restart */
	async job(id: string): Promise<RayJob | undefined> {
		try {
			return await this.ask("GET", `api/jobs/${encodeURIComponent(id)}`, job);
		} catch (error) {
			if (error instanceof RayError && error.status === 404) return undefined;
			throw error;
		}
	}

	async jobs(): Promise<RayJob[]> {
		return this.ask("GET", "api/jobs/", z.array(job));
	}

	/** What the job printed so far. */
	async logs(id: string): Promise<string> {
		return (await this.ask("GET", `api/jobs/${encodeURIComponent(id)}/logs`, logs)).logs;
	}

	/** Its processes get SIGTERM, then SIGKILL. */
	async stop(id: string): Promise<void> {
		await this.ask("POST", `api/jobs/${encodeURIComponent(id)}/stop`, z.object({ stopped: z.boolean() }));
	}

	private async ask<T>(method: "GET" | "POST", path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
		const url = new URL(path, this.base);
		const said = `${method} ${url.href}`;
		let answer: Answer;
		try {
			answer = await request(url, method, this.token, body && JSON.stringify(body));
		} catch (error) {
			throw new RayError(`${said}: no answer; expected a Ray dashboard there`, undefined, { cause: error });
		}
		const { status, text } = answer;
		if (status >= 400) throw new RayError(`${said}: ${status}: ${text.trim().split("\n").at(-1)?.slice(0, 300)}`, status);
		const parsed = schema.safeParse(parseJson(text));
		if (parsed.success) return parsed.data;
		throw new RayError(`${said}: expected Ray's Jobs API, got ${JSON.stringify(text.slice(0, 200))}`, status);
	}
}

interface Answer {
	status: number;
	text: string;
}

/** Not `fetch`: it says Sec-Fetch-Mode, and Ray refuses to be told anything by browsers. */
async function request(url: URL, method: string, token?: string, body?: string): Promise<Answer> {
	const open = url.protocol === "https:" ? https.request : http.request;
	const sent = open(url, {
		method,
		headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) },
		signal: AbortSignal.timeout(TIMEOUT_MS),
	});
	sent.end(body);
	const [response]: http.IncomingMessage[] = await once(sent, "response");
	return { status: response.statusCode ?? 0, text: await readText(response) };
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined; // told from JSON by the schema
	}
}
