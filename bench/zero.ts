/**
 * ZeRO's stages beside each other: what a process holds, and what a step sends and takes. `small` (64 M parameters), processes of one thread each on this
 * machine, 4 rows a step in micro-batches of one, AdamW in float32.
 *
 *     npx tsx bench/zero.ts [--processes 2] [--steps 4] [--out bench/results/zero.json]
 *
 * Memory is measured, not counted: tensors that are alive between two steps, and the process's resident set between them and at its peak. Bytes sent are the
 * loopback interface's, so nothing else should use it. Times on a shared machine are an order of magnitude.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus } from "node:os";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { memory } from "@tensorflow/tfjs-core";
import { joinWorkers, loadModel, Trainer, type ZeroStage } from "../src/index.js";
import { runOurs } from "./speed/run-job.js";
import { workloadFolder } from "./speed/workload.js";

const MIB = 2 ** 20;
const RESULT = "RESULT ";

interface Job {
	folder: string;
	workers: string[];
	rank: number;
	stage: ZeroStage;
	steps: number;
}

interface Measured {
	parameters_MiB: number;
	optimizer_MiB: number;
	loaded_rss_MiB: number;
	between_steps_rss_MiB: number;
	peak_rss_MiB: number;
	sent_by_all_MiB_per_step: number;
	step_s: number[];
	waiting_s_per_step: number;
	loss: number[];
}

const { values } = parseArgs({
	options: {
		processes: { type: "string", default: "2" },
		steps: { type: "string", default: "4" },
		out: { type: "string", default: fileURLToPath(new URL("results/zero.json", import.meta.url)) },
		job: { type: "string" },
	},
});

if (values.job !== undefined) console.log(`${RESULT}${JSON.stringify(await measure(JSON.parse(values.job) as Job))}`);
else await compare(Number(values.processes), Number(values.steps));

async function compare(processes: number, steps: number): Promise<void> {
	const folder = workloadFolder("small", "float32");
	await runOurs({ name: "write", folder, dtype: "float32", eager: false, settings: { config: "small" } });
	const results: ({ stage: number; rank: number } & Measured)[] = [];
	for (const stage of [0, 1, 2] as const) {
		const workers = (await freePorts(processes)).map((port) => `127.0.0.1:${port}`);
		const measured = await Promise.all(workers.map((_, rank) => start({ folder, workers, rank, stage, steps })));
		results.push(...measured.map((of, rank) => ({ stage, rank, ...of })));
		for (const [rank, of] of measured.entries()) console.log(JSON.stringify({ stage, rank, ...of }));
	}
	const machine = { cores: cpus().length, cpu: cpus()[0].model, shared: true };
	writeFileSync(
		values.out,
		`${JSON.stringify({ machine, processes, threadsPerProcess: 1, model: "small, 64 M parameters", results }, null, "\t")}\n`,
	);
}

async function start(job: Job): Promise<Measured> {
	const args = ["--expose-gc", "--import", "tsx", fileURLToPath(import.meta.url), "--job", JSON.stringify(job)];
	// With a fixed threshold glibc gives memory back when it is freed, and the resident set is what is held.
	const memory = { MALLOC_MMAP_THRESHOLD_: "262144" };
	const env = { ...process.env, ...memory, TF_NUM_INTRAOP_THREADS: "1", CUDA_VISIBLE_DEVICES: "", TF_CPP_MIN_LOG_LEVEL: "2" };
	const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
	const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
	const line = out.split("\n").find((line) => line.startsWith(RESULT));
	if (code !== 0 || line === undefined) throw new Error(`worker ${job.rank} of stage ${job.stage} ended with ${code}: ${err.slice(-2000)}`);
	return JSON.parse(line.slice(RESULT.length)) as Measured;
}

/** One process of a run. */
async function measure({ folder, workers, rank, stage, steps }: Job): Promise<Measured> {
	const group = await joinWorkers({ workers, rank, backend: "native-cpu", timeout: 300 });
	await using model = await loadModel(folder, { backend: "native-cpu", trainable: true });
	const [weights, loaded] = [memory().numBytes, process.memoryUsage().rss];
	const words = Array.from({ length: 60 }, (_, i) => `w${i}`).join(" ");
	const rows = Array.from({ length: 4 * steps }, (_, i) => ({
		messages: [
			{ role: "user" as const, content: `${i % 4} ${words.slice(0, 100)}` },
			{ role: "assistant" as const, content: words.slice(0, 60) },
		],
	}));
	const at: { bytes: number; rss: number; sent: number; waited: number; time: number }[] = [];
	const note = () => {
		globalThis.gc?.();
		at.push({
			...{ bytes: memory().numBytes, rss: process.memoryUsage().rss, sent: loopbackBytes(), waited: group.waited },
			time: performance.now(),
		});
	};
	const { history } = await new Trainer(model, {
		...{ trainBatchSize: 4, microTrainBatchSize: 1, maxEpochs: 1, learningRate: 1e-4, zeroStage: stage, workers: group },
		onEvent: (event) => event.type === "step" && note(),
	}).fit(rows);
	await group.leave();
	const [first, last] = [at[0], at[at.length - 1]]; // the first step makes the graphs
	const between = at.length - 1;
	return {
		parameters_MiB: mib(weights),
		optimizer_MiB: mib(last.bytes - weights),
		loaded_rss_MiB: mib(loaded),
		between_steps_rss_MiB: mib(last.rss),
		peak_rss_MiB: mib(process.resourceUsage().maxRSS * 1024),
		sent_by_all_MiB_per_step: mib((last.sent - first.sent) / between),
		step_s: at.slice(1).map(({ time }, i) => round((time - at[i].time) / 1000)),
		waiting_s_per_step: round((last.waited - first.waited) / between),
		loss: history.map(({ loss }) => loss),
	};
}

/** Received by the loopback interface so far: what all processes have sent each other. */
function loopbackBytes(): number {
	const line = readFileSync("/proc/net/dev", "utf8")
		.split("\n")
		.find((line) => line.trim().startsWith("lo:"));
	return Number(line?.trim().split(/[:\s]+/)[1]);
}

async function freePorts(count: number): Promise<number[]> {
	const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
	await Promise.all(servers.map((server) => once(server, "listening")));
	const ports = servers.map((server) => (server.address() as { port: number }).port);
	await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
	return ports;
}

function round(x: number): number {
	return Number(x.toFixed(3));
}

function mib(bytes: number): number {
	return Number((bytes / MIB).toFixed(1));
}
