/** One loss for a step however it is split into micro-batches and rows: normalised by all its labelled tokens. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { type AccumulateOptions, accumulateGradients, disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { countLabels, encodeRow, type TrainingExample } from "../../src/trainer/collate.js";
import { MicroStep } from "../../src/trainer/micro-step.js";
import { packExamples } from "../../src/trainer/pack-examples.js";
import { Supervised } from "../../src/trainer/supervised.js";
import { BigramModel } from "../fakes/bigram-model.js";

const TEXTS = ["a", "hello hello hello hello", "xyz", "mnmnmnmnmnmnmnmnmnmnmnmnmnmn", "01", "foo bar foo", "q"];

let model: BigramModel;
let optimizer: AdamW;
let microStep: MicroStep;
let examples: TrainingExample[];
beforeAll(async () => {
	await selectBackend("cpu");
	model = new BigramModel();
	optimizer = new AdamW(model.namedParameters());
	microStep = new MicroStep(model, { objective: new Supervised({ labelSmoothing: 0.1 }), buckets: optimizer.buckets });
	const rows = TEXTS.map((text, i) => ({
		messages: [
			{
				role: "user" as const,
				content: i % 3 === 0 ? [{ type: "image" as const, image: "a.png" }] : "say it",
			},
			{ role: "assistant" as const, content: text },
		],
	}));
	examples = (await Promise.all(rows.map((row, i) => encodeRow(row, i, model.processor)))) as TrainingExample[];
});
afterAll(async () => {
	microStep.dispose();
	optimizer.dispose();
	await model[Symbol.asyncDispose]();
});

async function accumulated(some: readonly TrainingExample[], options: Partial<AccumulateOptions>) {
	const { buckets } = optimizer;
	const { gradients, ...rest } = await accumulateGradients(model, some, { microTrainBatchSize: 1, microStep, buckets, ...options });
	const values = (await Promise.all(gradients.map(async (gradient) => [...((await gradient?.data()) ?? [])]))).flat();
	disposeGradients(gradients);
	return { values, ...rest };
}

describe("a step's loss and gradients", () => {
	const SPLITS: [string, Partial<AccumulateOptions>][] = [
		...[2, 3, 4, 5, 6, 7, 100].map((microTrainBatchSize): [string, Partial<AccumulateOptions>] => [
			`micro-batches of ${microTrainBatchSize}`,
			{ microTrainBatchSize },
		]),
		["packed rows", { packing: {} }],
		["packed rows of 64 tokens", { packing: { maxTokens: 64 } }],
		["micro-batches of 2 packed rows", { packing: {}, microTrainBatchSize: 2 }],
	];
	it.each(SPLITS)("are the same in %s as one by one", async (_, options) => {
		const [want, got] = [await accumulated(examples, {}), await accumulated(examples, options)];
		expect(got.loss).toBeCloseTo(want.loss, 5);
		expect(got.gradNorm).toBeCloseTo(want.gradNorm, 5);
		expect(got.tokens).toBe(want.tokens);
		got.values.forEach((value, i) => {
			expect(value).toBeCloseTo(want.values[i], 6);
		});
	});

	it("are the mean over tokens, not over rows", async () => {
		const { loss } = await accumulated(examples, {});
		const alone = await Promise.all(
			examples.map(async (example) => ({ n: countLabels(example.encoded), of: await accumulated([example], {}) })),
		);
		const tokens = alone.reduce((sum, { n }) => sum + n, 0);
		expect(loss).toBeCloseTo(alone.reduce((sum, { n, of }) => sum + n * of.loss, 0) / tokens, 5);
		expect(Math.abs(loss - alone.reduce((sum, { of }) => sum + of.loss, 0) / alone.length)).toBeGreaterThan(0.01);
	});

	it("count padding: none one by one but for rounded lengths, less packed than in a batch", async () => {
		const padding = async (options: Partial<AccumulateOptions>) => {
			const { tokens, positions } = await accumulated(examples, options);
			return 1 - tokens / positions;
		};
		const [single, batch, packed] = [
			await padding({}),
			await padding({ microTrainBatchSize: 7 }),
			await padding({ packing: {}, microTrainBatchSize: 7 }),
		];
		expect(single).toBeLessThan(0.06);
		expect(batch).toBeGreaterThan(0.4);
		expect(packed).toBeLessThan(0.2);
	});
});

describe("packExamples", () => {
	it("fills rows of the longest example's length, each example once, images in order, no label across a border", () => {
		const rows = packExamples(examples);
		expect(rows.flatMap((row) => row.examples.map(({ row }) => row)).sort()).toEqual(TEXTS.map((_, i) => i));
		const longest = Math.max(...examples.map(({ encoded }) => encoded.inputIds.length));
		for (const { encoded, examples: mine } of rows) {
			expect(encoded.inputIds.length).toBeLessThanOrEqual(longest);
			expect([...encoded.inputIds]).toEqual(mine.flatMap((example) => [...example.encoded.inputIds]));
			expect(encoded.segmentLengths).toEqual(mine.map((example) => example.encoded.inputIds.length));
			expect(encoded.images).toEqual(mine.flatMap((example) => example.encoded.images));
			expect(countLabels(encoded)).toBe(mine.reduce((n, example) => n + countLabels(example.encoded), 0));
		}
		const lengths = rows.map(({ encoded }) => encoded.inputIds.length);
		expect(lengths).toEqual([...lengths].sort((a, b) => a - b));
	});

	it("clears a label on a conversation's first token", () => {
		const encoded = { inputIds: Int32Array.of(5, 6), assistantMask: Uint8Array.of(1, 1), images: [] };
		const [{ encoded: packed }] = packExamples(
			[0, 1].map((row) => ({ row, encoded })),
			4,
		);
		expect([...packed.assistantMask]).toEqual([0, 1, 0, 1]);
	});

	it("gives a longer example than allowed a row of its own", () => {
		const lengths = packExamples(examples, 4).map((row) => row.examples.length);
		expect(Math.max(...lengths)).toBe(1);
	});
});
