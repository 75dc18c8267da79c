/** Direct preference optimization on several processes against one with the same batches: each finds its share of the reference. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesToFloat32 } from "../../src/checkpoint/dtype.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { loopback, resultsOf, startWorkers } from "./start-workers.js";
import { workerRun } from "./worker-run.js";

let scratch: string;
const at = (...names: string[]) => path.join(scratch, ...names);

/** The last checkpoint's tensors whose names begin so, end to end. */
async function stateOf(folder: string, kind: string): Promise<number[]> {
	const file = await openSafetensors(at(folder, "checkpoint-6", "optimizer.safetensors"));
	try {
		const values: number[] = [];
		for (const [name, { dtype }] of file.header) {
			if (name.startsWith(kind)) values.push(...bytesToFloat32(await file.read(name), dtype));
		}
		return values;
	} finally {
		await file.close();
	}
}

const norm = (values: readonly number[]) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
const distance = (a: readonly number[], b: readonly number[]) => norm(a.map((x, i) => x - b[i])) / norm(a);

describe.skipIf(nativeMissing)(`DPO on several processes (${nativeMissing ?? "staged"})`, () => {
	beforeAll(async () => {
		scratch = await mkdtemp(path.join(tmpdir(), "rft-dpo-workers-"));
	});
	afterAll(() => rm(scratch, { recursive: true }));

	it.each([0, 2] as const)(
		"two make the same updates as one, with unequal shares, in ZeRO stage %i",
		async (zeroStage) => {
			const run = { rows: 9, options: { dpo: { beta: 0.1 }, learningRate: 1e-4 } };
			const straight = await workerRun({ savePath: at("one"), ...run });
			const results = await resultsOf(
				startWorkers({ savePath: at("two"), ...run, options: { ...run.options, zeroStage } }, await loopback(2)),
			);
			expect(straight.history).toHaveLength(6);
			for (const { history, leaked } of results) {
				for (const [i, { loss, gradNorm, tokens }] of history.entries()) {
					expect(tokens).toBe(straight.history[i].tokens);
					expect(Math.abs(loss - straight.history[i].loss)).toBeLessThan(1e-4);
					expect(Math.abs(gradNorm / straight.history[i].gradNorm - 1)).toBeLessThan(1e-3);
				}
				expect(leaked).toBe(straight.leaked);
			}
			const references = await Promise.all(["one", "two"].map((folder) => stateOf(folder, "reference")));
			expect(references[0]).toHaveLength(18);
			expect(distance(references[0], references[1])).toBeLessThan(1e-6);
			expect(distance(await stateOf("one", "param."), await stateOf("two", "param."))).toBeLessThan(1e-5);
		},
		120_000,
	);
});
