import { readFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory, tensor, tensor1d, type Variable, variable } from "../../src/backend/tf.js";
import { disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { Adafactor } from "../../src/trainer/adafactor.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { nativeMissing } from "../backend/native-runtime.js";

const byName = z.record(z.string(), z.array(z.number()));
const reference = z
	.object({
		shapes: z.record(z.string(), z.array(z.int())),
		weightDecay: z.number(),
		start: byName,
		steps: z.array(z.object({ learningRate: z.number(), gradients: byName, after: byName })),
	})
	.parse(JSON.parse(readFileSync(new URL("../fixtures/adafactor.json", import.meta.url), "utf8")));
const { shapes, weightDecay, start, steps } = reference;

describe.each([
	["cpu", false],
	...(nativeMissing ? [] : ([["native-cpu", false] as const, ["native-cpu", true] as const] as const)),
] as const)("Adafactor on %s (eager: %s)", (backend, eager) => {
	let parameters: Map<string, Variable>;
	beforeAll(async () => {
		await selectBackend(backend);
	});
	beforeEach(() => {
		parameters = new Map(
			Object.entries(shapes).map(([name, shape]) => {
				const value = tensor(start[name], shape);
				const owned = variable(value);
				value.dispose();
				return [name, owned];
			}),
		);
	});
	afterEach(() => {
		for (const parameter of parameters.values()) parameter.dispose();
	});

	async function makeSteps(optimizer: Adafactor, from = 0, to = steps.length): Promise<void> {
		for (const { learningRate, gradients } of steps.slice(from, to)) {
			const flat = optimizer.buckets.map(({ names }) => tensor1d(names.flatMap((name) => gradients[name])));
			optimizer.step(flat, { learningRate });
			disposeGradients(flat);
		}
	}
	const values = async () => Promise.all([...parameters.values()].map(async (parameter) => Array.from(await parameter.data())));

	it("follows transformers' Adafactor, factors and clips each parameter by itself, and leaves nothing behind", async () => {
		const before = memory().numTensors;
		const optimizer = new Adafactor(parameters, { weightDecay, eager });
		for (const [i, { after }] of steps.entries()) {
			await makeSteps(optimizer, i, i + 1);
			for (const [name, parameter] of parameters) {
				(await parameter.data()).forEach((value, j) => {
					expect(value, `step ${i}, ${name}[${j}]`).toBeCloseTo(after[name][j], 5);
				});
			}
		}
		optimizer.dispose();
		expect(memory().numTensors).toBe(before);
	});

	it("goes on from its saved state to the same bits", async () => {
		const straight = new Adafactor(parameters, { weightDecay, eager });
		await makeSteps(straight, 0, 3);
		const saved = new Map(
			await Promise.all(straight.stateTensors().map(async ({ name, values }) => [name, Float32Array.from(await values())] as const)),
		);
		const between = [...parameters.values()].map((parameter) => parameter.clone());
		await makeSteps(straight, 3);
		const expected = await values();
		[...parameters.values()].forEach((parameter, i) => {
			parameter.assign(between[i]);
			between[i].dispose();
		});
		const resumed = new Adafactor(parameters, { weightDecay, eager });
		await resumed.restore(async (name, size) => {
			const found = saved.get(name)!;
			expect(found).toHaveLength(size);
			return found;
		});
		await makeSteps(resumed, 3);
		expect(await values()).toEqual(expected);
		straight.dispose();
		resumed.dispose();
	});
});

it("keeps rows + columns of a matrix where AdamW keeps 2 · rows · columns", async () => {
	await selectBackend("cpu");
	const weight = variable(tensor(new Float32Array(200 * 300), [200, 300]));
	const parameters = new Map([["weight", weight]]);
	const bytes = (make: () => { dispose(): void }) => {
		const before = memory().numBytes;
		const optimizer = make();
		const taken = memory().numBytes - before;
		optimizer.dispose();
		return taken;
	};
	expect(bytes(() => new Adafactor(parameters))).toBe(4 * (200 + 300));
	expect(bytes(() => new AdamW(parameters))).toBe(4 * 2 * 200 * 300);
	weight.dispose();
});
