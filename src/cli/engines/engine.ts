/** What `train --engine` knows of another trainer: which of our flags it can be given, and how they are said to it. */
import type { TrainerDataLayout } from "../../index.js";
import type { TrainOptions } from "../options.js";

/** A training run, with every number that trainers count for themselves. Paths are absolute. */
export interface Plan {
	options: TrainOptions;
	/** The engine's files; `data/train.json` is in it. */
	folder: string;
	pretrain: string;
	savePath: string;
	logDir?: string;
	/** A checkpoint of the engine's own to go on from. */
	resumeFrom?: string;
	nodes: number;
	/** Per node; 0: the CPU trains. */
	gpus: number;
	zeroStage: 0 | 1 | 2 | 3;
	bf16: boolean;
	/** Micro-batches per step on each device. */
	accumulation: number;
	/** Of the whole run. */
	steps: number;
	warmupSteps: number;
	/** Of warmup_stable_decay. */
	decaySteps: number;
	/** Area of an image after resizing, as the flags or the checkpoint have it. */
	pixels: { min: number; max: number };
}

/** What is written and run. */
export interface Handover {
	/** Contents by name, in the plan's folder. */
	files: Record<string, string>;
	/** Environment of the command; set only where the environment does not say otherwise. */
	env: Record<string, string>;
	/** One line of bash, quoted. */
	command: string;
	/** Where the trained model will be. */
	model: string;
}

export interface Engine {
	/** For messages. */
	title: string;
	layout: TrainerDataLayout;
	/** Flags that are translated. */
	takes: readonly (keyof TrainOptions)[];
	/** Reasons why other flags aren't; one that is in neither list is refused all the same. */
	refuses: Readonly<Record<string, string>>;
	/** Values of translated flags that the engine can't be given: the flag, what is expected. */
	check(options: TrainOptions): { flag: keyof TrainOptions; expected: string } | undefined;
	translate(plan: Plan): Handover;
	/** What differs from our own trainer and is no flag. */
	remarks: readonly string[];
}
