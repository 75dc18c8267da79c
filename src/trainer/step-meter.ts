/**
 * What a step costs: time, processor time and memory, as the system tells. On a GPU, utilisation is that of the host's processors and says how
 * much of the work is left to them.
 */
import { availableParallelism } from "node:os";
import { memory } from "../backend/tf.js";

/** Of one step, in this process. */
export interface StepCost {
	/** Wall time of the step: forward, backward and update. Reading rows ahead, evaluations and checkpoints are not in it. */
	seconds: number;
	/** Conversations trained on, per second of the step; of all processes together. */
	samplesPerSecond: number;
	/** Processor time over wall time × cores, from 0 to 1: 1 is all cores at work throughout. Of this process, whatever it does beside training. */
	utilisation: number;
	/** Resident set of the process after the step, in bytes: what it has of the machine's memory. */
	residentBytes: number;
	/** Tensors after the step, in bytes, by TensorFlow.js's own count (`memory().numBytes`): parameters, moments and whatever was not disposed; 16-bit tensors count as 32 bits. */
	tensorBytes: number;
}

export class StepMeter {
	private readonly started = performance.now();
	private readonly processor = process.cpuUsage();

	/** @param samples conversations of the step */
	read(samples: number): StepCost {
		const seconds = (performance.now() - this.started) / 1000;
		const { user, system } = process.cpuUsage(this.processor);
		return {
			seconds,
			samplesPerSecond: samples / seconds,
			utilisation: Math.min(1, (user + system) / 1e6 / (seconds * availableParallelism())),
			residentBytes: process.memoryUsage.rss(),
			tensorBytes: memory().numBytes,
		};
	}
}
