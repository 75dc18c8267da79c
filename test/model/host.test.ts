/** The model in a process of its own, against the same checkpoint in this one; both on wasm. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
	BackendUnavailableError,
	type GenerateOptions,
	type GenerativeModel,
	generateCoT,
	loadDataset,
	loadModel,
	type Message,
	type ModelInputs,
	type Rollout,
	scorePair,
} from "../../src/index.js";
import { type HostedModel, hostModel } from "../../src/model/host/host-model.js";
import { ModelHostCrashedError } from "../../src/model/host/model-host-crashed-error.js";
import { goldenPath } from "../fixtures/read-golden.js";

const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const HPDV3 = fileURLToPath(new URL("../fixtures/hpdv3", import.meta.url));
/** Longer than any test waits, and no token ends it. */
const ENDLESS: GenerateOptions = { maxNewTokens: 100_000, eosTokenIds: [] };
const conversation = (text: string): Message[] => [
	{
		role: "user",
		content: [
			{ type: "image", image: goldenPath("images", "chelsea_tiny.png") },
			{ type: "text", text },
		],
	},
];

let scratch: string;
let inputs: ModelInputs;
let local: GenerativeModel;
let hosted: HostedModel;
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-host-"));
	local = await loadModel(CHECKPOINT, { backend: "wasm" });
	hosted = await hostModel(CHECKPOINT, { backend: "wasm" });
	inputs = await local.processor.encode([conversation("a teapot"), conversation("two cats on a sofa")], { addGenerationPrompt: true });
});
afterAll(async () => {
	await hosted[Symbol.asyncDispose]();
	await local[Symbol.asyncDispose]();
	await rm(scratch, { recursive: true });
});

/** Whether there is such a process, zombies included. */
function exists(pid: number): boolean {
	try {
		return process.kill(pid, 0);
	} catch {
		return false;
	}
}

async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await sleep(10);
}

/** Starts a call and resolves at its first decode step. */
async function generating(model: GenerativeModel, options: GenerateOptions = {}) {
	let steps = 0;
	let call: Promise<unknown> = Promise.resolve();
	await new Promise<void>((resolve, reject) => {
		const onStep = () => {
			steps++;
			resolve();
		};
		call = model.generate(inputs, { ...ENDLESS, ...options, onStep });
		call.catch(reject);
	});
	return { call, steps: () => steps };
}

describe("a hosted model gives what the one in-process gives", () => {
	it.each<[string, GenerateOptions]>([
		["greedy", { maxNewTokens: 12 }],
		["sampled by seeds", { maxNewTokens: 12, temperature: 1, topK: 50, seeds: [7, 4_000_000_000] }],
		[
			"forced, constrained and scored",
			{ maxNewTokens: 28, thinkingBudget: 3, answers: { texts: ["Image 1 is better", "Image 2 is better"], only: true, score: true } },
		],
		["three samples of one prompt", { maxNewTokens: 8, temperature: 1, promptOfRow: [1, 1, 1], seeds: [1, 2, 3] }],
	])("%s", async (_, options) => {
		const steps: number[] = [];
		const here = await local.generate(inputs, { ...options, onStep: (running) => steps.push(running) });
		const hostedSteps: number[] = [];
		const there = await hosted.generate(inputs, { ...options, onStep: (running) => hostedSteps.push(running) });
		expect(there).toEqual(here);
		expect(there.tokens[0]).toBeInstanceOf(Int32Array);
		expect(there.tokens[0].length).toBeGreaterThan(0);
		expect(hostedSteps).toEqual(steps);
	});

	it("the same inputs from its processor, and the same backend", async () => {
		expect(await hosted.processor.encode([conversation("a teapot")])).toEqual(await local.processor.encode([conversation("a teapot")]));
		expect(hosted.backendReason).toMatch(/^wasm: asked for/);
	});

	it("the same rollouts through generateCoT", async () => {
		const rollouts = async (model: GenerativeModel) => {
			const records = loadDataset(`hpdv3:${join(HPDV3, "pairs.json")}`, { imageRoot: HPDV3, order: "both", limit: 2 });
			const found: Rollout[] = [];
			for await (const rollout of generateCoT(records, model, { maxNewTokens: 6, samplesPerRecord: 2, batchSize: 3 })) found.push(rollout);
			return found;
		};
		const here = await rollouts(local);
		expect(here.filter(({ finishReason }) => finishReason !== "error").length).toBeGreaterThan(3);
		expect(await rollouts(hosted)).toEqual(here);
	});

	it("the same scores of a pair", async () => {
		const pair = {
			prompt: "a teapot",
			images: ["two-red-circles.png", "one-red-circle.jpg"].map((name) => join(HPDV3, "images", name)) as [string, string],
		};
		const here = await scorePair(local, pair);
		expect(here.orders.map(({ order }) => order)).toEqual([
			[0, 1],
			[1, 0],
		]);
		const there = await scorePair(hosted, pair);
		expect(there.probabilities[0]).toBeCloseTo(here.probabilities[0], 5);
	});

	it("the model's own errors, with their class and message", async () => {
		const wrong: GenerateOptions = { temperature: -1 };
		const here = await local.generate(inputs, wrong).catch((error: Error) => error);
		const there = await hosted.generate(inputs, wrong).catch((error: Error) => error);
		expect(there).toBeInstanceOf(RangeError);
		expect((there as Error).message).toBe((here as Error).message);
	});
});

describe("calls", () => {
	it("made at once are answered in order", async () => {
		const ended: number[] = [];
		const lengths = [9, 1, 5];
		const calls = lengths.map(async (maxNewTokens, i) => {
			const result = await hosted.generate(inputs, { maxNewTokens, eosTokenIds: [] });
			ended.push(i);
			return result.tokens[0].length;
		});
		expect(await Promise.all(calls)).toEqual(lengths);
		expect(ended).toEqual([0, 1, 2]);
	});

	it("are cancelled by a signal within one decode step, with its reason; the next call is not held up", async () => {
		const stop = new AbortController();
		const running = await generating(hosted, { signal: stop.signal });
		const { pid } = hosted;
		const queued = hosted.generate(inputs, { maxNewTokens: 2, eosTokenIds: [] });
		const reason = new Error("the client hung up");
		const seen = running.steps();
		stop.abort(reason);
		await expect(running.call).rejects.toBe(reason);
		// Would wait for 100,000 steps if the model's process had not stopped.
		expect((await queued).tokens[0]).toHaveLength(2);
		expect(running.steps()).toBe(seen);
		expect(hosted.pid).toBe(pid);
	});

	it("stop at the first step after the signal in the model's process too", async () => {
		const log = join(scratch, "steps");
		const model = await withPreload(
			`let aborted = 0, after = 0;
			process.on("message", ({ type }) => { if (type === "abort") aborted++; });
			const send = process.send;
			process.send = (message, ...rest) => {
				if (aborted && message.type === "step") after++;
				if (aborted && message.type === "failed") require("node:fs").writeFileSync(${JSON.stringify(log)}, String(after));
				return send.call(process, message, ...rest);
			};`,
			() => hostModel(CHECKPOINT, { backend: "wasm" }),
		);
		try {
			const stop = new AbortController();
			const running = await generating(model, { signal: stop.signal });
			stop.abort();
			await expect(running.call).rejects.toBe(stop.signal.reason);
			await model.generate(inputs, { maxNewTokens: 1 });
			expect(Number(readFileSync(log, "utf8"))).toBeLessThanOrEqual(1);
		} finally {
			await model[Symbol.asyncDispose]();
		}
	});

	it("that wait are cancelled at once", async () => {
		const stop = new AbortController();
		const running = await generating(hosted, { signal: stop.signal });
		const reason = new Error("not needed any more");
		await expect(hosted.generate(inputs, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
		stop.abort();
		await expect(running.call).rejects.toBe(stop.signal.reason);
	});

	it("fail with what onStep throws", async () => {
		const mine = new Error("enough");
		const call = hosted.generate(inputs, {
			...ENDLESS,
			onStep: () => {
				throw mine;
			},
		});
		await expect(call).rejects.toBe(mine);
		expect((await hosted.generate(inputs, { maxNewTokens: 1 })).tokens).toHaveLength(2);
	});
});

let preloads = 0;
/** `start`, where NODE_OPTIONS makes the processes that it starts at once run `code` first; those of later run without. */
async function withPreload(code: string, start: () => Promise<HostedModel>): Promise<HostedModel> {
	const file = join(scratch, `preload-${preloads++}.cjs`);
	await writeFile(file, code);
	const before = process.env.NODE_OPTIONS;
	process.env.NODE_OPTIONS = `${before ?? ""} --require ${file}`;
	try {
		return start();
	} finally {
		if (before === undefined) delete process.env.NODE_OPTIONS;
		else process.env.NODE_OPTIONS = before;
	}
}

describe("a crash", () => {
	it("is the error of the call that runs; those that wait run on the next process, and so does the next call", async () => {
		const expected = await local.generate(inputs, { maxNewTokens: 3 });
		const running = await generating(hosted);
		const first = hosted.pid as number;
		const waiting = hosted.generate(inputs, { maxNewTokens: 3 });
		process.kill(first, "SIGKILL");
		const error = await running.call.catch((e: unknown) => e);
		expect(error).toBeInstanceOf(ModelHostCrashedError);
		expect(error).toMatchObject({ exitCode: null, signal: "SIGKILL" });
		expect(await waiting).toEqual(expected);
		expect(hosted.pid).not.toBe(first);
		expect(exists(first)).toBe(false);
		expect(await hosted.generate(inputs, { maxNewTokens: 3 })).toEqual(expected);
	});

	it("while nobody calls costs nobody a call", async () => {
		const first = hosted.pid as number;
		process.kill(first, "SIGKILL");
		await until(() => hosted.pid === undefined);
		expect((await hosted.generate(inputs, { maxNewTokens: 1 })).tokens).toHaveLength(2);
		expect(hosted.pid).not.toBe(first);
	});

	it("from inside tells the signal and the last words", async () => {
		const model = await withPreload(
			`process.on("message", ({ type }) => {
				if (type !== "generate") return;
				process.stderr.write("native code: something is very wrong\\n");
				setTimeout(() => process.abort(), 20);
			});`,
			() => hostModel(CHECKPOINT, { backend: "wasm" }),
		);
		try {
			const error = await model.generate(inputs, ENDLESS).catch((e: unknown) => e);
			expect(error).toBeInstanceOf(ModelHostCrashedError);
			expect(error).toMatchObject({ exitCode: null, signal: "SIGABRT" });
			expect((error as ModelHostCrashedError).lastOutput).toContain("native code: something is very wrong");
			expect((error as Error).message).toMatch(/SIGABRT while generating[\s\S]*something is very wrong/);
			// The second process was started without the preload.
			expect((await model.generate(inputs, { maxNewTokens: 2, eosTokenIds: [] })).tokens[0]).toHaveLength(2);
		} finally {
			await model[Symbol.asyncDispose]();
		}
	});

	it("while loading is an error of hostModel and leaves no process", async () => {
		const pidFile = join(scratch, "pid");
		const loading = withPreload(
			`process.on("message", () => { require("node:fs").writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); process.exit(7); });`,
			() => hostModel(CHECKPOINT, { backend: "wasm" }),
		);
		const error = await loading.catch((e: unknown) => e);
		expect(error).toBeInstanceOf(ModelHostCrashedError);
		expect(error).toMatchObject({ exitCode: 7, signal: null });
		expect((error as Error).message).toMatch(/while loading the model/);
		expect(exists(Number(readFileSync(pidFile, "utf8")))).toBe(false);
	});

	it("is followed by so many restarts as were allowed, if the model can't be loaded any more", async () => {
		const broken = join(scratch, "broken");
		await cp(CHECKPOINT, broken, { recursive: true });
		const model = await hostModel(broken, { backend: "wasm", maxRestarts: 1 });
		try {
			await rm(join(broken, "config.json"));
			const running = await generating(model);
			process.kill(model.pid as number, "SIGKILL");
			await expect(running.call).rejects.toBeInstanceOf(ModelHostCrashedError);
			const messages: string[] = [];
			for (let i = 0; i < 3; i++) messages.push((await model.generate(inputs).catch((error: Error) => error.message)) as string);
			expect(messages[0]).toMatch(/config\.json: no such file/);
			expect(messages[2]).toMatch(/could not be loaded 2 times in a row.*call hostModel anew.*config\.json: no such file/);
			expect(model.pid).toBeUndefined();
		} finally {
			await model[Symbol.asyncDispose]();
		}
	});
});

describe("loading errors are those of loadModel", () => {
	it.each([
		["a folder without a model", join(HPDV3, "images"), {}],
		["weights without tokenizer", CHECKPOINT, { processorDir: HPDV3 }],
	])("%s", async (_, dir, options) => {
		const here = await loadModel(dir, { backend: "wasm", ...options }).catch((error: Error) => error);
		const there = await hostModel(dir, { backend: "wasm", ...options }).catch((error: Error) => error);
		expect(there).toBeInstanceOf(Error);
		expect((there as Error).message).toBe((here as Error).message);
	});

	it("a type that the backend has not", async () => {
		await expect(hostModel(CHECKPOINT, { backend: "wasm", dtype: "bfloat16" })).rejects.toThrow(/the backend wasm has no bfloat16/);
	});

	it("a backend that can't be had, with its class and fields", async () => {
		const error = await hostModel(CHECKPOINT, { backend: "native-gpu" }).catch((e: unknown) => e);
		expect(error).toBeInstanceOf(BackendUnavailableError);
		expect(error).toMatchObject({ backend: "native-gpu", name: "BackendUnavailableError" });
		expect((error as BackendUnavailableError).wayOut.length).toBeGreaterThan(0);
	});
});

describe("the model's process ends", () => {
	let model: HostedModel | undefined;
	afterEach(async () => {
		await model?.[Symbol.asyncDispose]();
		model = undefined;
	});

	it("with dispose, which fails the calls that are out, and twice does nothing", async () => {
		model = await hostModel(CHECKPOINT, { backend: "wasm" });
		const pid = model.pid as number;
		const { call } = await generating(model);
		const waiting = model.generate(inputs);
		const settled = Promise.allSettled([call, waiting]);
		await model[Symbol.asyncDispose]();
		expect(exists(pid)).toBe(false);
		for (const result of await settled) {
			expect(result.status).toBe("rejected");
			expect(String((result as PromiseRejectedResult).reason)).toMatch(/the model was disposed/);
		}
		await model[Symbol.asyncDispose]();
		await expect(model.generate(inputs)).rejects.toThrow(/disposed/);
		expect(model.pid).toBeUndefined();
	});

	it("with its parent: when that has nothing more to do, and when it is killed while generating", async () => {
		const src = (name: string) => JSON.stringify(new URL(`../../src/model/host/${name}.ts`, import.meta.url).href);
		const program = join(scratch, "parent.mts");
		await writeFile(
			program,
			`import { hostModel } from ${src("host-model")};
			const model = await hostModel(${JSON.stringify(CHECKPOINT)}, { backend: "wasm" });
			const inputs = await model.processor.encode([[{ role: "user", content: "a teapot" }]], { addGenerationPrompt: true });
			await model.generate(inputs, { maxNewTokens: 1 });
			console.log("pid " + model.pid);
			if (process.argv[2] === "--stay") await model.generate(inputs, { maxNewTokens: 100000, eosTokenIds: [] });`,
		);
		const args = ["--import", pathToFileURL(fileURLToPath(import.meta.resolve("tsx"))).href, program];
		const brief = execFile(process.execPath, args, { timeout: 30_000, killSignal: "SIGKILL" });
		let printed = "";
		brief.stdout?.on("data", (text) => (printed += text));
		const [code] = await once(brief, "close");
		expect(code).toBe(0);
		const ended = Number(/pid (\d+)/.exec(printed)?.[1]);
		await until(() => !exists(ended));

		const staying = execFile(process.execPath, [...args, "--stay"], { timeout: 30_000, killSignal: "SIGKILL" });
		const [text] = await once(staying.stdout as NodeJS.ReadableStream, "data");
		const orphan = Number(/pid (\d+)/.exec(String(text))?.[1]);
		expect(exists(orphan)).toBe(true);
		staying.kill("SIGKILL");
		await until(() => !exists(orphan) || isZombie(orphan));
	});
});

/** Dead, and nobody has asked: in a container whose first process reaps nothing an orphan stays so. */
function isZombie(pid: number): boolean {
	const status = `/proc/${pid}/stat`;
	return existsSync(status) && / Z /.test(readFileSync(status, "utf8"));
}
