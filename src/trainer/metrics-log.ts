/**
 * A run's log folder: scalars in `metrics.jsonl` for programs, in `wandb-history.jsonl` for Weights & Biases and in a TensorBoard event file for
 * people (`tensorboard --logdir DIR`); judgements in `judgements.jsonl`, and as texts and pictures in the event file. All are appended to as the run
 * goes; a resumed run goes on in the JSON lines and opens an event file of its own.
 */
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import type { JudgedRollout } from "../reward/outcome.js";
import { codeBlock, judgementText } from "./judgement-text.js";
import { logPicture } from "./log-picture.js";
import { StepLines } from "./step-lines.js";
import { type EncodedPictures, encodeFileVersion, encodePictures, encodeScalars, encodeTexts } from "./tensorboard-events.js";
import { WandbHistory } from "./wandb-history.js";

export class MetricsLog implements AsyncDisposable {
	/** Judgements whose pictures are in the event file: they don't change, and are there once. */
	private readonly shown = new Set<string>();

	private constructor(
		private readonly metrics: StepLines,
		private readonly history: WandbHistory,
		private readonly said: StepLines,
		private readonly events: FileHandle,
	) {}

	/**
	 * Creates the folder and opens the files.
	 * @param fromStep a resumed run goes on from it: lines of later steps, which will come again, are left out. Default: all lines stay.
	 */
	static async open(logDir: string, fromStep?: number): Promise<MetricsLog> {
		await mkdir(logDir, { recursive: true });
		const now = Date.now() / 1000;
		const metrics = await StepLines.open(path.join(logDir, "metrics.jsonl"), "step", fromStep);
		const history = await WandbHistory.open(path.join(logDir, "wandb-history.jsonl"), now, fromStep);
		const said = await StepLines.open(path.join(logDir, "judgements.jsonl"), "step", fromStep);
		const events = await open(path.join(logDir, `events.out.tfevents.${now.toFixed(3)}.${hostname()}.${process.pid}`), "a");
		await events.write(encodeFileVersion(now));
		return new MetricsLog(metrics, history, said, events);
	}

	/** @param scalars value by tag, such as `train/loss` */
	async write(step: number, scalars: Readonly<Record<string, number>>): Promise<void> {
		const now = Date.now() / 1000;
		await this.metrics.add({ step, time: now, ...scalars });
		await this.history.write(step, now, scalars);
		await this.events.write(encodeScalars(now, step, scalars));
	}

	/** Each under tags of its pair and shown order (a tag is of one kind): the same pairs at several steps can be followed through them. */
	async judgements(step: number, judgements: readonly JudgedRollout[]): Promise<void> {
		const now = Date.now() / 1000;
		for (const judgement of judgements) {
			const { record, completion, outcome, answer, reason } = judgement;
			const { key, prompt, order, preferred } = record;
			const images = order.map((stored) => record.images[stored]);
			await this.said.add({ step, time: now, key, order, preferred, prompt, images, completion, outcome, answer, reason });
			const tag = `judgements/${key.slice(0, 8)}/${order[0] === 0 ? "stored" : "swapped"}`;
			const missing = this.shown.has(tag) ? [] : await this.showPictures(now, step, tag, images);
			const text = [judgementText(judgement), ...missing.map(codeBlock)].join("\n\n");
			await this.events.write(encodeTexts(now, step, { [`${tag}/text`]: text }));
		}
	}

	/** @returns why pictures are not there */
	private async showPictures(now: number, step: number, tag: string, images: readonly string[]): Promise<string[]> {
		this.shown.add(tag);
		const all = await Promise.all(images.map(logPicture));
		const pictures = all.filter((picture) => "file" in picture);
		const pair: EncodedPictures = {
			width: Math.max(...pictures.map(({ width }) => width)),
			height: Math.max(...pictures.map(({ height }) => height)),
			files: pictures.map(({ file }) => file),
		};
		if (pictures.length > 0) await this.events.write(encodePictures(now, step, { [`${tag}/images`]: pair }));
		return all.flatMap((picture) => ("reason" in picture ? [picture.reason] : []));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const file of [this.metrics, this.history, this.said]) await file[Symbol.asyncDispose]();
		await this.events.close();
	}
}
