/** Several processes against one with the same global batch: real processes, TensorFlow's collectives over loopback. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesToFloat32 } from "../../src/checkpoint/dtype.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { loopback, resultsOf, startWorker, startWorkers } from "./start-workers.js";
import { workerRun } from "./worker-run.js";

/** 13 rows in batches of 4, twice: the last batch of an epoch has one row, so that most processes have none of it. */
const STEPS = 8;

let scratch: string;
let straight: Awaited<ReturnType<typeof workerRun>>;
const at = (...names: string[]) => path.join(scratch, ...names);

/** Every tensor of a checkpoint's training state: parameters and both moments. */
async function stateOf(folder: string, step: number): Promise<Map<string, Float32Array>> {
	const file = await openSafetensors(at(folder, `checkpoint-${step}`, "optimizer.safetensors"));
	try {
		const state = new Map<string, Float32Array>();
		for (const [name, { dtype }] of file.header) state.set(name, bytesToFloat32(await file.read(name), dtype));
		return state;
	} finally {
		await file.close();
	}
}

/** |a − b| over |a|, of all tensors whose names begin so. */
function distance(a: Map<string, Float32Array>, b: Map<string, Float32Array>, kind: string): number {
	let [difference, norm] = [0, 0];
	for (const [name, values] of a) {
		if (!name.startsWith(kind)) continue;
		const others = b.get(name) ?? new Float32Array();
		expect(others.length, name).toBe(values.length);
		values.forEach((value, i) => {
			difference += (value - others[i]) ** 2;
			norm += value ** 2;
		});
	}
	return Math.sqrt(difference / norm);
}

async function expectSameState(folder: string, step: number) {
	const [expected, got] = [await stateOf("straight", step), await stateOf(folder, step)];
	expect([...got.keys()]).toEqual([...expected.keys()]);
	expect(distance(expected, got, "param.")).toBeLessThan(1e-6);
	expect(distance(expected, got, "exp_avg.")).toBeLessThan(1e-5);
	expect(distance(expected, got, "exp_avg_sq.")).toBeLessThan(1e-5);
}

describe.skipIf(nativeMissing)(`training on several processes (${nativeMissing ?? "staged"})`, () => {
	beforeAll(async () => {
		scratch = await mkdtemp(path.join(tmpdir(), "rft-workers-"));
		straight = await workerRun({ savePath: at("straight") });
	});
	afterAll(() => rm(scratch, { recursive: true }));

	it.each([2, 3])("%i make the same updates as one, with unequal shares and a last step of one row", async (size) => {
		const folder = `of-${size}`;
		const results = await resultsOf(startWorkers({ savePath: at(folder) }, await loopback(size)));
		for (const { history, leaked } of results) {
			expect(history).toHaveLength(STEPS);
			expect(history.map(({ tokens }) => tokens)).toEqual(straight.history.map(({ tokens }) => tokens));
			for (const [i, { loss, gradNorm }] of history.entries()) {
				expect(Math.abs(loss / straight.history[i].loss - 1)).toBeLessThan(1e-5);
				expect(Math.abs(gradNorm / straight.history[i].gradNorm - 1)).toBeLessThan(1e-5);
			}
			expect(leaked).toBe(straight.leaked);
		}
		for (const step of [2, STEPS]) await expectSameState(folder, step);
	});

	it("killed, one is named by the others within seconds, they save, and another number of processes goes on to the same end", async () => {
		const folder = "killed";
		const [first, second] = startWorkers({ savePath: at(folder) }, await loopback(2));
		while (!existsSync(at(folder, "checkpoint-2"))) await setTimeout(20);
		second.child.kill("SIGKILL");
		const killed = performance.now();
		const { code, stderr } = await first.ended;
		expect(performance.now() - killed).toBeLessThan(15_000);
		expect(code).toBe(1);
		expect(stderr).toMatch(/WorkerLostError: worker 1 \(127\.0\.0\.1:\d+\) is gone \(ECONNREFUSED\).*--resume_from_checkpoint/);
		const results = await resultsOf(
			startWorkers({ savePath: at(folder), options: { resumeFromCheckpoint: at(folder) } }, await loopback(3)),
		);
		expect(results[0].history).toHaveLength(STEPS);
		await expectSameState(folder, STEPS);
	}, 120_000);

	it("refuses workers with other rows, in all of them, naming who differs", async () => {
		const addresses = await loopback(2);
		const started = [13, 12].map((rows, rank) => startWorker({ savePath: at("other"), rows }, addresses, rank));
		for (const { code, stderr } of await Promise.all(started.map(({ ended }) => ended))) {
			expect(code).toBe(1);
			expect(stderr).toContain("workers 1 differ from worker 0 in their rows and options; start all with the same data and options");
		}
	});
});
