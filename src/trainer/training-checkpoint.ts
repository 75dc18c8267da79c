/**
 * A training run on disk: `checkpoint-<step>/` is a Hugging Face checkpoint (so it loads as a model) with three more files,
 * `trainer_state.json` (where the run stands), `optimizer.safetensors` (the optimizer's state and the trained parameters in float32: resuming
 * is exact even where the model's own weights are stored in 16 bits) and `checksums.json`. A folder appears whole: it is filled under another
 * name and renamed; older ones go when it is there.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { tensor, type Variable } from "../backend/tf.js";
import { bytesToFloat32, float32ToBytes } from "../checkpoint/dtype.js";
import { openSafetensors, type SafetensorsFile } from "../checkpoint/safetensors.js";
import { type TensorSource, writeSafetensors } from "../checkpoint/write-safetensors.js";
import { syncFolder, writeWhole } from "../checkpoint/write-whole.js";
import type { TrainableModel } from "../model/generative-model.js";
import { writeChecksums } from "./checksums.js";
import type { Objective } from "./objective.js";
import type { Optimizer, StateTensor } from "./optimizer-state.js";
import { differences, type RunIdentity, runIdentity } from "./run-identity.js";

const STATE_FILE = "trainer_state.json";
const OPTIMIZER_FILE = "optimizer.safetensors";

const stepRecord = z.object({
	step: z.int(),
	epoch: z.int(),
	loss: z.number(),
	metrics: z.record(z.string(), z.number()).optional(),
	learningRate: z.number(),
	gradNorm: z.number(),
	tokensPerSecond: z.number(),
	tokens: z.int(),
	padding: z.number(),
});

const trainerState = z.object({
	/** Steps made. */
	step: z.int().nonnegative(),
	/** A resumed run must have the same. */
	identity: runIdentity,
	history: z.array(stepRecord),
	evaluations: z.array(z.object({ step: z.int(), scores: z.record(z.string(), z.number()) })),
});

export type TrainerState = z.infer<typeof trainerState>;

/** The model, what of it is trained, and how. */
export interface Trained {
	model: TrainableModel;
	/** Those that are trained. */
	parameters: ReadonlyMap<string, Variable>;
	optimizer: Optimizer;
	/** What it has to know of the model before training. */
	objective?: Pick<Objective, "stateTensors" | "restore">;
}

export interface KeepOptions {
	/** Checkpoints to keep, this one included. Default: all. */
	keep?: number;
	/** The step of one to keep beside them. */
	best?: number;
}

export const checkpointFolder = (savePath: string, step: number) => path.join(savePath, `checkpoint-${step}`);

/**
 * Older checkpoints of the same folder are removed once the new one is there and flushed to the disk.
 * @returns the checkpoint's folder
 * @throws where it can't be written (a full disk, say): nothing of it is left then, and the older ones are as they were
 */
export async function saveTrainingCheckpoint(
	savePath: string,
	{ model, parameters, optimizer, objective }: Trained,
	state: TrainerState,
	kept: KeepOptions = {},
): Promise<string> {
	const dir = checkpointFolder(savePath, state.step);
	const temporary = path.join(savePath, `.checkpoint-${state.step}.${process.pid}-${randomUUID().slice(0, 8)}.tmp`);
	try {
		await mkdir(temporary, { recursive: true });
		await model.save(temporary);
		const tensors = [...parameterTensors(parameters), ...optimizer.stateTensors(), ...(objective?.stateTensors?.() ?? [])];
		await writeSafetensors(path.join(temporary, OPTIMIZER_FILE), tensors.map(toSource));
		await writeWhole(path.join(temporary, STATE_FILE), (file) => file.writeFile(`${JSON.stringify(state)}\n`));
		await writeChecksums(temporary);
		await moveInto(temporary, dir);
	} catch (error) {
		await rm(temporary, { recursive: true, force: true });
		throw error;
	}
	await removeOlder(savePath, state.step, kept);
	return dir;
}

/**
 * The same for a run of several processes: the first one writes, and the others give it what they have of the optimizer's state. To be called in all.
 *
 * @returns whether it was written here
 */
export async function writeCheckpoint(
	savePath: string,
	trained: Trained,
	state: TrainerState,
	kept: KeepOptions,
	writes: boolean,
): Promise<boolean> {
	const write = async () => void (await saveTrainingCheckpoint(savePath, trained, state, kept));
	const { gathered } = trained.optimizer;
	if (gathered) return gathered.write(writes, write);
	if (writes) await write();
	return writes;
}

/** At no time is neither the old folder nor the new one there, but for the moment between two renames. */
async function moveInto(temporary: string, dir: string): Promise<void> {
	const old = `${temporary}.old`;
	const replaces = existsSync(dir);
	if (replaces) await rename(dir, old);
	await rename(temporary, dir);
	await syncFolder(path.dirname(dir));
	if (replaces) await rm(old, { recursive: true });
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

/** @returns the steps of the folder's checkpoints, the newest first. */
export async function checkpointSteps(savePath: string): Promise<number[]> {
	if (!existsSync(savePath)) return [];
	const names = (await readdir(savePath)).filter((name) => /^checkpoint-\d+$/.test(name));
	return names.map((name) => Number(name.slice("checkpoint-".length))).sort((a, b) => b - a);
}

/** Removes all but the `keep` newest checkpoints up to `step` and the best; later ones are another run's and stay. Killed savings go, too. */
async function removeOlder(savePath: string, step: number, { keep = Number.POSITIVE_INFINITY, best }: KeepOptions): Promise<void> {
	const steps = (await checkpointSteps(savePath)).filter((found) => found <= step);
	for (const old of steps.slice(keep)) {
		if (old !== best) await rm(checkpointFolder(savePath, old), { recursive: true, force: true });
	}
	const leftovers = (await readdir(savePath)).filter((name) => /^\.checkpoint-\d+\..*\.tmp(\.old)?$/.test(name));
	for (const name of leftovers) await rm(path.join(savePath, name), { recursive: true, force: true });
}

/** @throws for a folder without a readable state, or another run's, with the differences */
export async function readTrainerState(dir: string, expected: RunIdentity): Promise<TrainerState> {
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
	const differing = differences(parsed.data.identity, expected);
	if (differing.length > 0) {
		throw new Error(
			`${file}: this is another run's checkpoint: ${differing.join("; ")}. Resume with the same data and options, or begin a new run from its weights`,
		);
	}
	return parsed.data;
}

/**
 * Sets the trained parameters, the optimizer and the objective to those of a checkpoint.
 *
 * @param dir a `checkpoint-<step>` folder
 * @throws when it is another model's, or the state is damaged
 */
export async function restoreTraining(dir: string, { parameters, optimizer, objective }: Omit<Trained, "model">): Promise<void> {
	const tensors = await openSafetensors(path.join(dir, OPTIMIZER_FILE));
	try {
		for (const [name, variable] of parameters) {
			const value = tensor(await readTensor(tensors, `param.${name}`, variable.size), variable.shape, "float32");
			variable.assign(value);
			value.dispose();
		}
		await optimizer.restore((name, size) => readTensor(tensors, name, size));
		await objective?.restore?.((name) => readTensor(tensors, name));
	} finally {
		await tensors.close();
	}
}

/** @returns a new array: `tensor` keeps the array that it is given. */
async function readTensor(tensors: SafetensorsFile, name: string, size?: number): Promise<Float32Array> {
	const entry = tensors.header.get(name);
	const found = entry ? entry.shape.reduce((product, n) => product * n, 1) : undefined;
	if (!entry || (size !== undefined && found !== size)) {
		throw new Error(
			`${tensors.file}: ${name} should have ${size ?? "some"} values, got ${found ?? "no such tensor"}; the checkpoint is another model's`,
		);
	}
	return bytesToFloat32(await tensors.read(name), entry.dtype);
}
