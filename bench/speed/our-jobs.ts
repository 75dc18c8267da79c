/** This library's side of the jobs; bench/peer/peer_speed.py is the other. Each runs in a process of its own. */
import {
	type EncodedConversation,
	generateCoT,
	type LoadModelOptions,
	loadModel,
	type ModelInputs,
	type Qwen2_5VLModel,
	selectBackend,
	Trainer,
} from "../../src/index.js";
import { measureLimits } from "../limits.js";
import { type Measured, type Measurements, measured, seconds, stepWindows, timed } from "./samples.js";
import { DECODE, MAX_NEW_TOKENS, ROLLOUTS_PER_RECORD, SAMPLES } from "./settings.js";
import { encodeRows, loadRecords, RECORD_TEMPLATE, readWorkload, writeWorkload } from "./workload.js";

/** One job, as it is handed to its process. */
export interface OurJob {
	name: string;
	folder: string;
	dtype: string;
	/** Not compiled. */
	eager: boolean;
	settings: Record<string, unknown>;
}
export interface OurResult {
	measurements: Measurements;
	/** The pipeline's: tokens of each rollout, by record and sample. */
	lengths?: number[][];
}

/** The jobs by name. */
export const OUR_JOBS: Record<string, (job: OurJob) => Promise<OurResult>> = {
	async write({ folder, dtype, settings }) {
		await writeWorkload(settings.config as "small", dtype as "float32", folder, settings.layers as number | undefined);
		return { measurements: {} };
	},
	async limits() {
		return { measurements: await measureLimits() };
	},
	generate,
	pipeline,
	train,
	decode_at: decodeAt,
	train_at: trainAt,
	load,
};

export function openModel(
	{ folder, dtype, eager }: Pick<OurJob, "folder" | "dtype" | "eager">,
	trainable = false,
): Promise<Qwen2_5VLModel> {
	const computed = dtype === "autocast" ? "bfloat16" : dtype;
	// The command line names the dtype; loadModel says so if it is none of its own.
	return loadModel(folder, { backend: "native-cpu", dtype: computed as LoadModelOptions["dtype"], eager, trainable });
}

/** Prefill of 1 and of 8 two-image prompts, and decode steps of 1, 8 and 8 × 4 rows; all through `generate`, sampling and read-back included. */
async function generate(job: OurJob): Promise<OurResult> {
	const model = await openModel(job);
	const { prompts } = await readWorkload(job.folder);
	const encoded = await encodeRows(model.processor, prompts);
	const measurements: Measurements = {};
	for (const batch of [1, encoded.length]) {
		const inputs = model.processor.collate(encoded.slice(0, batch));
		const prefill: number[] = [];
		const read = () => timed(prefill, () => model.generate(inputs, { maxNewTokens: 1, eosTokenIds: [] }));
		await read();
		for (let i = 0; i < (job.settings.reps as number); i++) await read();
		measurements[`prefill_b${batch}_s`] = measured(prefill.slice(1));
		measurements[`decode_b${batch}_s`] = await decodeSteps(model, inputs);
		if (batch === 1) continue;
		const promptOfRow = Array.from({ length: batch * SAMPLES }, (_, row) => Math.floor(row / SAMPLES));
		measurements[`decode_b${promptOfRow.length}_s`] = await decodeSteps(model, inputs, promptOfRow);
	}
	return { measurements };
}

async function decodeSteps(model: Qwen2_5VLModel, inputs: ModelInputs, promptOfRow?: number[]): Promise<Measured> {
	const { decodeSteps: maxNewTokens, warmSteps, window } = DECODE;
	let stamps: number[] = [];
	const run = async () => {
		stamps = [];
		await model.generate(inputs, { maxNewTokens, eosTokenIds: [], promptOfRow, onStep: () => stamps.push(seconds()) });
	};
	await run(); // what is captured on the way is captured now
	await run();
	return measured(stepWindows(stamps, warmSteps, window));
}

/** Records to rollouts through `generateCoT`, images read from their files. The first pass captures graphs and is reported apart. */
async function pipeline(job: OurJob): Promise<OurResult> {
	const model = await openModel(job);
	const records = await loadRecords(job.settings.records as number);
	const run = async () => {
		const lengths = new Map(records.map(({ key }) => [key, [] as number[]]));
		const options = { samplesPerRecord: ROLLOUTS_PER_RECORD, maxNewTokens: MAX_NEW_TOKENS, promptTemplate: RECORD_TEMPLATE };
		for await (const rollout of generateCoT(records, model, options)) {
			if (rollout.error) throw new Error(`pipeline: ${rollout.error.message}`);
			lengths.get(rollout.record.key)![rollout.sampleIndex] = rollout.numTokens;
		}
		return [...lengths.values()];
	};
	const [cold, total]: number[][] = [[], []];
	await timed(cold, run);
	const lengths = await timed(total, run);
	const tokens = lengths.flat().reduce((sum, n) => sum + n, 0);
	return { measurements: { total_s: measured(total), cold_s: measured(cold), tokens: measured([tokens]) }, lengths };
}

/** Optimizer steps of 4 rows, one micro-batch. */
async function train(job: OurJob): Promise<OurResult> {
	const model = await openModel(job, true);
	const { training, labelled } = await readWorkload(job.folder);
	return { measurements: { step_s: await trainingSteps(model, await encodeRows(model.processor, training, labelled), job.settings) } };
}

async function trainingSteps(model: Qwen2_5VLModel, rows: EncodedConversation[], settings: OurJob["settings"]): Promise<Measured> {
	const stamps = [seconds()];
	const trainer = new Trainer(model, {
		...{ trainBatchSize: rows.length, microTrainBatchSize: rows.length, maxEpochs: settings.steps as number, learningRate: 1e-5 },
		gradientCheckpointing: settings.gradientCheckpointing as boolean | undefined,
		optimizer: settings.optimizer as "adamw" | "adafactor" | undefined,
		betas: [0.9, 0.95],
		onEvent: (event) => {
			if (event.type === "step") stamps.push(seconds());
		},
	});
	await trainer.fit(rows.map((encoded) => ({ encoded })));
	const steps = stamps.slice(1).map((stamp, i) => stamp - stamps[i]);
	return measured(steps.slice(settings.warmSteps as number));
}

/** bench/growth.ts: one row's decode step on a text of `settings.length` tokens. */
async function decodeAt(job: OurJob): Promise<OurResult> {
	const model = await openModel(job);
	const [text] = await encodeTexts(job);
	return { measurements: { seconds: await decodeSteps(model, model.processor.collate([text])) } };
}

/** bench/growth.ts: training steps on one text, its last fifth labelled. */
async function trainAt(job: OurJob): Promise<OurResult> {
	const model = await openModel(job, true);
	return { measurements: { seconds: await trainingSteps(model, await encodeTexts(job), job.settings) } };
}

async function encodeTexts({ folder, settings }: OurJob): Promise<EncodedConversation[]> {
	const { text } = await readWorkload(folder);
	const length = settings.length as number;
	const inputIds = Int32Array.from(text.slice(0, length));
	const assistantMask = Uint8Array.from(inputIds, (_, i) => (i >= length - Math.floor(length / 5) ? 1 : 0));
	return [{ inputIds, assistantMask, images: [] }];
}

/** bench/growth.ts: `loadModel`, the imports and the native library's start not counted. */
async function load(job: OurJob): Promise<OurResult> {
	await selectBackend("native-cpu");
	const samples: number[] = [];
	await timed(samples, () => openModel(job));
	return { measurements: { seconds: measured(samples) } };
}
