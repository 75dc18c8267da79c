/**
 * `wandb-history.jsonl`: one object per step as Weights & Biases keeps a run's history, with `_step`, `_timestamp` and `_runtime` beside the
 * metrics. What comes later for the same step (an evaluation) joins the step's object. test/reference/replay_wandb.py feeds such a file to wandb.
 */
import { StepLines } from "./step-lines.js";

export class WandbHistory implements AsyncDisposable {
	private step: unknown;
	/** Of the last object. */
	private names: Set<string>;
	/** Seconds since 1970 at which the run would have begun, had it never stopped. */
	private readonly began: number;

	private constructor(
		private readonly lines: StepLines,
		now: number,
		last: StepLines["last"],
	) {
		const { _step, _runtime, ...metrics } = last ?? {};
		this.step = _step;
		this.names = new Set(Object.keys(metrics));
		this.began = now - (typeof _runtime === "number" ? _runtime : 0);
	}

	/**
	 * @param now seconds since 1970
	 * @param fromStep a resumed run goes on from it, and its `_runtime` where the last object left it. Default: a run of its own, after what is there
	 */
	static async open(file: string, now: number, fromStep?: number): Promise<WandbHistory> {
		const lines = await StepLines.open(file, "_step", fromStep);
		return new WandbHistory(lines, now, fromStep === undefined ? undefined : lines.last);
	}

	/**
	 * @param now seconds since 1970
	 * @param metrics value by name; one that the step has already stays as it is
	 */
	async write(step: number, now: number, metrics: Readonly<Record<string, number>>): Promise<void> {
		if (step === this.step) {
			await this.lines.extend(Object.fromEntries(Object.entries(metrics).filter(([name]) => !this.names.has(name))));
		} else {
			await this.lines.add({ _step: step, _timestamp: now, _runtime: now - this.began, ...metrics });
			this.names = new Set();
			this.step = step;
		}
		for (const name of Object.keys(metrics)) this.names.add(name);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.lines[Symbol.asyncDispose]();
	}
}
