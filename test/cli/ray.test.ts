/** Jobs on a cluster that answers as Ray does: shards that are lost, forgotten, found again and stopped. */
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { commandWords } from "../../src/cli/command-words.js";
import { sampleOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { followJob } from "../../src/cli/ray/follow-job.js";
import { RayJobs } from "../../src/cli/ray/ray-jobs.js";
import { runShard, type ShardOptions } from "../../src/cli/ray/shard-job.js";
import { FakeRay, type Fate } from "./fake-ray.js";

let ray: FakeRay | undefined;
afterEach(async () => ray?.close());

async function cluster(fate?: (id: string) => Fate): Promise<RayJobs> {
	ray = new FakeRay(fate);
	return new RayJobs(await ray.listen());
}

function shard(more: Partial<ShardOptions> = {}) {
	const notes: string[] = [];
	const progress: number[][] = [];
	const options: ShardOptions = {
		...{ cpus: 1, gpus: 0, retries: 2, signal: new AbortController().signal, every: 1 },
		...{ note: (line: string) => void notes.push(line), onProgress: (...counts: number[]) => void progress.push(counts), ...more },
	};
	return { notes, progress, options };
}

const job = { name: "rft-1-of-4", entrypoint: "echo 'sample: 3/8, 1 s'; echo 'sample: 8/8, 2 s, done'", metadata: {} };

it("submits, follows and reports what the job printed", async () => {
	const jobs = await cluster();
	const { options, progress, notes } = shard();
	await runShard(jobs, job, options);
	expect(progress.at(-1)).toEqual([8, 8]);
	expect(ray?.submitted).toEqual([{ id: "rft-1-of-4-1", cpus: 1 }]);
	expect(notes).toEqual([]);
	expect(await jobs.version()).toBe("2.60.0");
});

it("submits a shard again that failed, and one that the cluster forgot", async () => {
	const jobs = await cluster((id) => (id.endsWith("-1") ? "fail" : id.endsWith("-2") ? "forget" : "run"));
	const { options, notes } = shard();
	await runShard(jobs, job, options);
	expect(ray?.submitted.map(({ id }) => id)).toEqual(["rft-1-of-4-1", "rft-1-of-4-2", "rft-1-of-4-3"]);
	expect(notes[0]).toBe("Ray job rft-1-of-4-1: FAILED: Job supervisor actor died; submitted again, and goes on from its journal");
	expect(notes[1]).toMatch(/^Ray job rft-1-of-4-2: LOST: http.* does not know rft-1-of-4-2/);
});

it("gives up after so many losses, with what was printed", async () => {
	const jobs = await cluster();
	const { options } = shard({ retries: 1 });
	await expect(runShard(jobs, { ...job, entrypoint: "echo no such judge; exit 2" }, options)).rejects.toThrow(
		/rft-1-of-4-2: FAILED: exit code 2; given up after 2 submissions\. It printed:\nno such judge/,
	);
});

it("finds a job that an earlier run of the command submitted, and counts on from those that ended", async () => {
	const jobs = await cluster();
	await jobs.submit({ id: "rft-1-of-4-7", entrypoint: "exit 1" });
	await followJob(jobs, "rft-1-of-4-7", { every: 1 });
	await jobs.submit({ id: "rft-1-of-4-8", entrypoint: "sleep 0.2" });
	await runShard(jobs, job, shard().options);
	expect(ray?.submitted).toHaveLength(2);
	await runShard(jobs, job, shard().options);
	expect(ray?.submitted.at(-1)?.id).toBe("rft-1-of-4-9");
});

it("stops the job when it is stopped", async () => {
	const jobs = await cluster();
	const stopping = new AbortController();
	const running = runShard(jobs, { ...job, entrypoint: "sleep 0.3" }, shard({ signal: stopping.signal }).options);
	await setTimeout(50);
	stopping.abort(new Error("enough"));
	await expect(running).rejects.toThrow("enough");
	expect((await jobs.job("rft-1-of-4-1"))?.status).toBe("STOPPED");
});

it("says where there is no cluster, and what is no address of one", async () => {
	await expect(new RayJobs("http://127.0.0.1:9").version()).rejects.toThrow(/GET http:\/\/127\.0\.0\.1:9\/api\/version: no answer/);
	await expect(followJob(new RayJobs("http://127.0.0.1:9"), "a", { every: 1, patience: 3 })).rejects.toThrow("no answer");
	expect(() => new RayJobs("ray://head:10001")).toThrow(/--ray: expected the address of a Ray dashboard/);
	const jobs = await cluster();
	await jobs.submit({ id: "twice", entrypoint: "true" });
	await expect(jobs.submit({ id: "twice", entrypoint: "true" })).rejects.toThrow(/500: ValueError: .* already exists/);
});

it("a shard's words give the options that they were made of", () => {
	const given = parseOptions(sampleOptions, {
		...{ model_path: "openai:judge@http://gpu:8000/v1", data_path: ["hpdv3:a b.json", "hpdv3:c.json"], output_path: "out's" },
		...{ use_cot: false, temperature: "0.7", score: true, top_k: 5 },
	});
	const words = commandWords(sampleOptions, given);
	expect(words).toContain("--no-use_cot");
	const back: Record<string, unknown> = { use_cot: false, score: true };
	for (const [i, word] of words.entries()) {
		if (!word.startsWith("--") || words[i + 1]?.startsWith("--") || word === "--score") continue;
		const name = word.slice(2);
		back[name] = name === "data_path" ? [...((back[name] as string[] | undefined) ?? []), words[i + 1]] : words[i + 1];
	}
	delete back["no-use_cot"];
	expect(parseOptions(sampleOptions, back)).toEqual(given);
	expect(() => commandWords(sampleOptions, { ...given, data_mapping: { caption: "c" } })).toThrow(/--data_mapping: expected a text/);
});
