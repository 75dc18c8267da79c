/**
 * How long an HTTP service that samples is deaf: event-loop delay with the model in-process (`loadModel`) and in a process of its own
 * (`hostModel`).
 *
 *     npx tsx bench/event-loop.ts [--seconds 15] [--clients 2] [--judge examples/judge] [--out bench/results/event-loop.json]
 *
 * Each service is a fresh process that judges pairs for clients, which ask from this process without a pause. Delay is
 * `monitorEventLoopDelay` with a resolution of 1 ms, which is in every figure; `idle` is the same service before the first request.
 * The histogram has one entry per turn of the loop: a block of 50 ms is one entry, so percentiles flatter a loop that blocks. `blocked`
 * is therefore given too: the share of the time spent in turns longer than 20 ms.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import os from "node:os";
import { dirname, join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fillTemplate, hostModel, loadModel, type Message, readPromptTemplate } from "../src/index.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const HELD_OUT = join(HERE, "../examples/data/heldout");
const LONG_TURN_MS = 20;
const SCHEDSTAT = "/proc/self/schedstat";
const MODES = { "in-process": loadModel, hosted: hostModel };
type Mode = keyof typeof MODES;

interface Delays {
	p50Ms: number;
	p99Ms: number;
	maxMs: number;
	/** Share of the time in turns longer than 20 ms. */
	blocked: number;
	/** Of that share, what the loop's thread spent waiting for a core that other processes had. */
	blockedForLackOfCore: number;
}

const { values } = parseArgs({
	options: {
		seconds: { type: "string", default: "15" },
		clients: { type: "string", default: "2" },
		judge: { type: "string", default: join(HERE, "../examples/judge") },
		out: { type: "string", default: join(HERE, "results/event-loop.json") },
		serve: { type: "string" },
	},
});
if (values.serve === undefined) await compare();
else await serve(values.serve as Mode);

/** The service: POST a caption to be judged, GET the delays since the last GET. */
async function serve(mode: Mode): Promise<void> {
	const model = await MODES[mode](values.judge);
	const template = await readPromptTemplate(join(values.judge, "prompt.txt"));
	const images = await Promise.all(["0000a.jpg", "0000b.jpg"].map((name) => readFile(join(HELD_OUT, name))));
	const delay = monitorEventLoopDelay({ resolution: 1 });
	let turns = longTurns();
	const judge = async (caption: string) => {
		const question = { type: "text" as const, text: `\n${fillTemplate(template, caption)}` };
		const shown = images.flatMap((image, i) => [
			{ type: "text" as const, text: `${i === 0 ? "" : "\n"}**Image ${i + 1}:** ` },
			{ type: "image" as const, image },
		]);
		const conversation: Message[] = [{ role: "user", content: [...shown, question] }];
		const inputs = await model.processor.encode([conversation], { addGenerationPrompt: true });
		return (await model.generate(inputs, { maxNewTokens: 180 })).tokens[0].length;
	};
	const report = (): Delays => {
		const ms = (ns: number) => Number((ns / 1e6).toFixed(2));
		const found = { p50Ms: ms(delay.percentile(50)), p99Ms: ms(delay.percentile(99)), maxMs: ms(delay.max), ...turns.shares() };
		delay.reset();
		turns.stop();
		turns = longTurns();
		return found;
	};
	const server = createServer(async (request, response) => {
		if (request.method === "GET") return response.end(JSON.stringify(report()));
		const [caption] = (await request.setEncoding("utf8").toArray()) as string[];
		response.end(JSON.stringify({ tokens: await judge(caption) }));
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	delay.enable();
	process.on("disconnect", () => process.exit());
	process.send?.({ port: (server.address() as { port: number }).port, backend: model.backendReason });
}

/** The share of the time that passes in turns longer than 20 ms, and what of it was no work: the thread waited for a core (Linux). */
function longTurns() {
	const start = performance.now();
	let last = start;
	let waitedLast = coreWaitMs();
	let long = 0;
	let longWait = 0;
	const timer = setInterval(() => {
		const now = performance.now();
		const waited = coreWaitMs();
		if (now - last > LONG_TURN_MS) {
			long += now - last;
			longWait += waited - waitedLast;
		}
		last = now;
		waitedLast = waited;
	}, 1);
	const share = (ms: number) => Number((ms / (performance.now() - start)).toFixed(4));
	return { shares: () => ({ blocked: share(long), blockedForLackOfCore: share(longWait) }), stop: () => clearInterval(timer) };
}

/** How long this process's main thread has been runnable without running; 0 where the system doesn't say. */
function coreWaitMs(): number {
	return existsSync(SCHEDSTAT) ? Number(readFileSync(SCHEDSTAT, "utf8").split(" ")[1]) / 1e6 : 0;
}

async function measure(mode: Mode) {
	const service: ChildProcess = fork(fileURLToPath(import.meta.url), ["--serve", mode, "--judge", values.judge]);
	const [{ port, backend }] = (await once(service, "message")) as [{ port: number; backend: string }];
	const url = `http://127.0.0.1:${port}`;
	const delays = async () => (await (await fetch(url)).json()) as Delays;
	await sleep(500); // what starting left
	await delays();
	await sleep(2000);
	const idle = await delays();
	const latencies: number[] = [];
	let tokens = 0;
	const ends = performance.now() + Number(values.seconds) * 1000;
	const client = async () => {
		while (performance.now() < ends) {
			const asked = performance.now();
			const answer = await fetch(url, { method: "POST", body: "a photo of a rocket" });
			tokens += ((await answer.json()) as { tokens: number }).tokens;
			latencies.push(performance.now() - asked);
		}
	};
	await Promise.all(Array.from({ length: Number(values.clients) }, client));
	const sampling = await delays();
	service.disconnect();
	await once(service, "exit");
	latencies.sort((a, b) => a - b);
	const medianLatencyMs = Math.round(latencies[latencies.length >> 1]);
	return { mode, backend, requests: latencies.length, tokens, medianLatencyMs, idle, sampling };
}

async function compare(): Promise<void> {
	const load = os.loadavg()[0];
	const results = [await measure("in-process"), await measure("hosted")];
	console.table(Object.fromEntries(results.map(({ mode, requests, sampling }) => [mode, { requests, ...sampling }])));
	const machine = { cpu: os.cpus()[0].model.trim(), cores: os.cpus().length, loadBefore: load, node: process.version };
	const settings = { seconds: Number(values.seconds), clients: Number(values.clients), resolutionMs: 1 };
	await mkdir(dirname(values.out), { recursive: true });
	await writeFile(values.out, `${JSON.stringify({ machine, settings, results }, null, "\t")}\n`);
	console.log(`written to ${values.out}`);
}
