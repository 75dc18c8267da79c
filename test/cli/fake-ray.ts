/**
 * Ray's Jobs API as its dashboard answers it (Ray 2.60: paths, fields, 404 for unknown jobs, refusal of a browser's POST), with jobs that are
 * PENDING at the first look, then RUNNING, then what `ends` says. A job's command really runs where it says so.
 */
import { spawn } from "node:child_process";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

interface FakeJob {
	submission_id: string;
	entrypoint: string;
	status: "PENDING" | "RUNNING" | "STOPPED" | "SUCCEEDED" | "FAILED";
	message: string;
	logs: string;
	ended: Promise<void>;
	entrypoint_num_cpus?: number;
}

/** What becomes of a submission: it runs, or is lost as soon as it has begun. `forget`: the cluster's head is restarted. */
export type Fate = "run" | "fail" | "forget";

export class FakeRay {
	readonly jobs = new Map<string, FakeJob>();
	readonly submitted: { id: string; cpus?: number }[] = [];
	private readonly server: Server;

	/** @param fate of a submission, by its id */
	constructor(private readonly fate: (id: string) => Fate = () => "run") {
		this.server = createServer((request, response) => void this.answer(request, response));
	}

	async listen(): Promise<string> {
		await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
		return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
	}

	async close(): Promise<void> {
		await Promise.all([...this.jobs.values()].map(({ ended }) => ended));
		this.server.closeAllConnections();
		await new Promise((resolve) => this.server.close(resolve));
	}

	private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const say = (status: number, body: unknown) => response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
		if (request.method === "POST" && request.headers["sec-fetch-mode"])
			return void say(405, "'POST' method not allowed for browser traffic.");
		const path = request.url ?? "";
		if (path === "/api/version") return void say(200, { version: "4", ray_version: "2.60.0" });
		if (path === "/api/jobs/" && request.method === "POST") return void this.submit((await json(request)) as FakeJob, say);
		if (path === "/api/jobs/") return void say(200, [{ submission_id: null, status: "RUNNING" }, ...this.jobs.values()]);
		const [, id = "", verb] = /^\/api\/jobs\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
		const job = this.jobs.get(id);
		if (!job) return void say(404, `Job ${id} does not exist`);
		if (verb === "logs" && job.status === "FAILED" && job.logs === "") return void say(500, "the node is gone");
		if (verb === "logs") return void say(200, { logs: job.logs });
		if (verb === "stop") {
			job.status = "STOPPED";
			return void say(200, { stopped: true });
		}
		const seen = { ...job, ended: undefined };
		if (job.status === "PENDING") job.status = "RUNNING";
		say(200, seen);
	}

	private submit(request: FakeJob, say: (status: number, body: unknown) => unknown): unknown {
		const { submission_id: id, entrypoint, entrypoint_num_cpus: cpus } = request;
		if (this.jobs.has(id)) return say(500, `Traceback\nValueError: Job with submission_id ${id} already exists.`);
		const job: FakeJob = { submission_id: id, entrypoint, status: "PENDING", message: "", logs: "", ended: Promise.resolve() };
		this.jobs.set(id, job);
		this.submitted.push({ id, cpus });
		const fate = this.fate(id);
		if (fate === "run") job.ended = run(job);
		else if (fate === "fail") Object.assign(job, { status: "FAILED", message: "Job supervisor actor died\nmore" });
		else this.jobs.delete(id);
		return say(200, { job_id: id, submission_id: id });
	}
}

function run(job: FakeJob): Promise<void> {
	const child = spawn("bash", ["-c", job.entrypoint]);
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (job.logs += data));
	return new Promise((resolve) => {
		child.on("close", (code) => {
			if (job.status !== "STOPPED")
				Object.assign(job, code === 0 ? { status: "SUCCEEDED" } : { status: "FAILED", message: `exit code ${code}` });
			resolve();
		});
	});
}
