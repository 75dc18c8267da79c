/**
 * A run's scalars, twice: `metrics.jsonl` for programs and a TensorBoard event file for people (`tensorboard --logdir DIR`).
 * Both are appended to as the run goes; a resumed run goes on in `metrics.jsonl` and opens an event file of its own.
 */
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { writeWhole } from "../checkpoint/write-whole.js";
import { encodeFileVersion, encodeScalars } from "./tensorboard-events.js";

const JSONL_FILE = "metrics.jsonl";

export class MetricsLog implements AsyncDisposable {
	private constructor(
		private readonly jsonl: FileHandle,
		private readonly events: FileHandle,
	) {}

	/**
	 * Creates the folder and opens both files.
	 * @param fromStep a resumed run goes on from it: lines of later steps, which will come again, are left out. Default: all lines stay.
	 */
	static async open(logDir: string, fromStep?: number): Promise<MetricsLog> {
		await mkdir(logDir, { recursive: true });
		if (fromStep !== undefined) await dropLaterLines(path.join(logDir, JSONL_FILE), fromStep);
		const now = Date.now() / 1000;
		const jsonl = await open(path.join(logDir, JSONL_FILE), "a");
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

/** Also a last line that was cut off by a kill. */
async function dropLaterLines(file: string, step: number): Promise<void> {
	if (!existsSync(file)) return;
	const lines = (await readFile(file, "utf8")).split("\n").filter((line) => {
		const found = /^\{"step":(\d+),.*\}$/.exec(line);
		return found !== null && Number(found[1]) <= step;
	});
	await writeWhole(file, (handle) => handle.writeFile(lines.map((line) => `${line}\n`).join("")));
}
