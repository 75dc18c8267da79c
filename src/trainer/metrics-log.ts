/**
 * A run's scalars, twice: `metrics.jsonl` for programs and a TensorBoard event file for people (`tensorboard --logdir DIR`).
 * Both are appended to as the run goes; a resumed run goes on in `metrics.jsonl` and opens an event file of its own.
 */
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { encodeFileVersion, encodeScalars } from "./tensorboard-events.js";

export class MetricsLog implements AsyncDisposable {
	private constructor(
		private readonly jsonl: FileHandle,
		private readonly events: FileHandle,
	) {}

	/** Creates the folder and opens both files. */
	static async open(logDir: string): Promise<MetricsLog> {
		await mkdir(logDir, { recursive: true });
		const now = Date.now() / 1000;
		const jsonl = await open(path.join(logDir, "metrics.jsonl"), "a");
		const events = await open(path.join(logDir, `events.out.tfevents.${now.toFixed(3)}.${hostname()}.${process.pid}`), "a");
		await events.write(encodeFileVersion(now));
		return new MetricsLog(jsonl, events);
	}

	/** @param scalars value by tag, such as `train/loss` */
	async write(step: number, scalars: Readonly<Record<string, number>>): Promise<void> {
		const now = Date.now() / 1000;
		await this.jsonl.write(`${JSON.stringify({ step, time: now, ...scalars })}\n`);
		await this.events.write(encodeScalars(now, step, scalars));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.jsonl.close();
		await this.events.close();
	}
}
