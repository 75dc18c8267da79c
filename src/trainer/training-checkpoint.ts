/**
 * A training run on disk: `checkpoint-<step>/` is a Hugging Face checkpoint (so it loads as a model) with two more files,
 * `trainer_state.json` (where the run stands) and `optimizer.safetensors` (AdamW's moments and the parameters in float32: resuming is
 * exact even where the model's own weights are stored in 16 bits). A folder appears whole: it is filled under another name, then renamed.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { tensor, type Variable } from "../backend/tf.js";
import { bytesToFloat32, float32ToBytes } from "../checkpoint/dtype.js";
import { openSafetensors, type SafetensorsFile } from "../checkpoint/safetensors.js";
import { type TensorSource, writeSafetensors } from "../checkpoint/write-safetensors.js";
import { writeWhole } from "../checkpoint/write-whole.js";
import type { TrainableModel } from "../model/generative-model.js";
import type { AdamW, StateTensor } from "./adamw.js";

const STATE_FILE = "trainer_state.json";
const OPTIMIZER_FILE = "optimizer.safetensors";

const stepRecord = z.object({
	step: z.int(),
	epoch: z.int(),
	loss: z.number(),
	learningRate: z.number(),
	gradNorm: z.number(),
	tokensPerSecond: z.number(),
});

const trainerState = z.object({
	/** Steps made. */
	step: z.int().nonnegative(),
	/** What decides which rows a step trains on; a resumed run must agree. */
	rows: z.int(),
	trainBatchSize: z.int(),
	seed: z.int(),
	history: z.array(stepRecord),
	evaluations: z.array(z.object({ step: z.int(), scores: z.record(z.string(), z.number()) })),
});

export type TrainerState = z.infer<typeof trainerState>;

/**
 * @param keep how many checkpoints to keep, this one included; older ones of the same folder are removed once it is there
 * @returns the checkpoint's folder
 */
export async function saveTrainingCheckpoint(
	savePath: string,
	model: TrainableModel,
	optimizer: AdamW,
	state: TrainerState,
	keep = Number.POSITIVE_INFINITY,
): Promise<string> {
	const dir = path.join(savePath, `checkpoint-${state.step}`);
	const temporary = path.join(savePath, `.checkpoint-${state.step}.${process.pid}-${randomUUID().slice(0, 8)}.tmp`);
	await mkdir(temporary, { recursive: true });
	try {
		await model.save(temporary);
		const tensors = [...parameterTensors(model.namedParameters()), ...optimizer.stateTensors()];
		await writeSafetensors(path.join(temporary, OPTIMIZER_FILE), tensors.map(toSource));
		await writeWhole(path.join(temporary, STATE_FILE), (file) => file.writeFile(`${JSON.stringify(state)}\n`));
		await rm(dir, { recursive: true, force: true });
		await rename(temporary, dir);
	} catch (error) {
		await rm(temporary, { recursive: true, force: true });
		throw error;
	}
	await removeOlder(savePath, state.step, keep);
	return dir;
}

function parameterTensors(parameters: ReadonlyMap<string, Variable>): StateTensor[] {
	return [...parameters].map(([name, variable]) => ({
		name: `param.${name}`,
		shape: variable.shape,
		values: async () => (await variable.data()) as Float32Array,
	}));
}

function toSource({ name, shape, values }: StateTensor): TensorSource {
	return { name, dtype: "F32", shape, data: async () => float32ToBytes(await values(), "F32") };
}

/** Removes all but the `keep` newest checkpoints up to `step`; later ones are another run's and stay. */
async function removeOlder(savePath: string, step: number, keep: number): Promise<void> {
	const steps = (await readdir(savePath))
		.map((name) => Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? Number.NaN))
		.filter((found) => found <= step)
		.sort((a, b) => b - a);
	for (const old of steps.slice(keep)) await rm(path.join(savePath, `checkpoint-${old}`), { recursive: true, force: true });
}

/** The run that is about to go on; see TrainerState. */
export type ExpectedRun = Pick<TrainerState, "rows" | "trainBatchSize" | "seed">;

/**
 * Sets the model's parameters and the optimizer to those of a checkpoint.
 *
 * @param dir a `checkpoint-<step>` folder
 * @throws when the folder is no training checkpoint, is another model's, or its steps would not mean the same rows
 */
export async function resumeTraining(dir: string, model: TrainableModel, optimizer: AdamW, expected: ExpectedRun): Promise<TrainerState> {
	const file = path.join(dir, STATE_FILE);
	const wrong = (what: string, cause?: unknown) =>
		new Error(`${file}: ${what}; expected the trainer_state.json of a checkpoint-<step> folder`, { cause });
	const json: unknown = await readFile(file, "utf8")
		.then(JSON.parse)
		.catch((cause) => {
			throw wrong((cause as Error).message, cause);
		});
	const parsed = trainerState.safeParse(json);
	if (!parsed.success) throw wrong(z.prettifyError(parsed.error));
	for (const key of ["rows", "trainBatchSize", "seed"] as const) {
		if (parsed.data[key] === expected[key]) continue;
		throw new Error(`${file}: ${key} was ${parsed.data[key]} and is now ${expected[key]}; resume with the same data, batch size and seed`);
	}
	const tensors = await openSafetensors(path.join(dir, OPTIMIZER_FILE));
	try {
		for (const [name, variable] of model.namedParameters()) {
			const value = tensor(await readTensor(tensors, `param.${name}`, variable.size), variable.shape, "float32");
			variable.assign(value);
			value.dispose();
		}
		await optimizer.restore((name, size) => readTensor(tensors, name, size));
	} finally {
		await tensors.close();
	}
	return parsed.data;
}

/** @returns a new array: `tensor` keeps the array that it is given. */
async function readTensor(tensors: SafetensorsFile, name: string, size: number): Promise<Float32Array> {
	const entry = tensors.header.get(name);
	const found = entry ? entry.shape.reduce((product, n) => product * n, 1) : undefined;
	if (!entry || found !== size) {
		throw new Error(
			`${tensors.file}: ${name} should have ${size} values, got ${found ?? "no such tensor"}; the checkpoint is another model's`,
		);
	}
	return bytesToFloat32(await tensors.read(name), entry.dtype);
}
