/**
 * `hostModel`: the model in a process of its own, behind the same interface as in-process.
 *
 * Why: native calls block the event loop for as long as they run, and a native crash takes its process down. The processor stays here
 * (its methods are synchronous, and images are decoded on sharp's threads); token ids, pixel values and texts cross, tensors never.
 * Calls wait for one another in order. A crash is the error of the one call that was running; those that wait run on the next process.
 */
import type { GenerateOptions, GenerateResult, GenerativeModel, ModelInputs, Processor } from "../generative-model.js";
import { baseFolder } from "../qwen2_5_vl/adapter.js";
import type { LoadModelOptions } from "../qwen2_5_vl/load.js";
import { loadProcessor } from "../qwen2_5_vl/processor.js";
import { untilAborted } from "../until-aborted.js";
import type { SamplingOptions } from "./messages.js";
import { ModelChild } from "./model-child.js";
import { ModelHostCrashedError } from "./model-host-crashed-error.js";

export interface HostModelOptions extends LoadModelOptions {
	/**
	 * Restarts in a row that may fail to load the model before calls are refused without trying. Default 3. A crash while
	 * generating doesn't count: one request that crashes must not take the others' model away.
	 */
	maxRestarts?: number;
}

/** A model in another process. */
export interface HostedModel extends GenerativeModel {
	/** Which kernels the model's process took, and why. */
	readonly backendReason: string;
	/** The model's process; undefined while there is none, between a crash and the next start. */
	readonly pid: number | undefined;
}

/**
 * Starts a process, loads the model there and gives it as a `GenerativeModel`: same results as `loadModel`, and the caller's event loop stays
 * free. Its process ends with `[Symbol.asyncDispose]()` and with the caller's process; it doesn't keep that one alive.
 *
 * @param dir as for `loadModel`; a relative path means the working directory of now, on restarts too
 * @throws what `loadModel` throws, with its message; ModelHostCrashedError if loading ended the process. `generate` throws what the
 *   model's does, ModelHostCrashedError if the process ended under it, and an Error after dispose.
 */
export async function hostModel(dir: string, { maxRestarts = 3, ...options }: HostModelOptions = {}): Promise<HostedModel> {
	const host = new Host(dir, options, maxRestarts);
	const { processorDir, minPixels, maxPixels } = options;
	const loading = async () => loadProcessor(processorDir ?? (await baseFolder(dir)), { minPixels, maxPixels });
	const [started, processor] = await Promise.allSettled([host.ready(), loading()]);
	if (started.status === "fulfilled" && processor.status === "fulfilled") {
		host.processor = processor.value;
		return host;
	}
	await host[Symbol.asyncDispose]();
	throw started.status === "rejected" ? started.reason : (processor as PromiseRejectedResult).reason;
}

class Host implements HostedModel {
	processor!: Processor; // set before anyone sees the host
	backendReason = "";
	private readonly cwd = process.cwd();
	private child?: ModelChild;
	private starting?: Promise<ModelChild>;
	private failedStarts = 0;
	private lastFailure: unknown;
	private disposed = false;
	/** The last call's end; the next one waits for it. */
	private turn: Promise<unknown> = Promise.resolve();

	constructor(
		private readonly dir: string,
		private readonly options: LoadModelOptions,
		private readonly maxRestarts: number,
	) {}

	get pid(): number | undefined {
		return this.child?.alive ? this.child.pid : undefined;
	}

	async generate(inputs: ModelInputs, { signal, onStep, ...sampling }: GenerateOptions = {}): Promise<GenerateResult> {
		this.refuseIfDisposed();
		const call = this.turn.then(() => this.run(inputs, sampling, { signal, onStep }));
		this.turn = call.catch(() => undefined); // the caller has the error
		return untilAborted(call, signal);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.disposed = true;
		await this.child?.kill();
	}

	/** The process with the model in it, started if there is none. */
	async ready(): Promise<ModelChild> {
		this.refuseIfDisposed();
		if (!this.starting && this.child?.alive) return this.child;
		this.starting ??= this.start().finally(() => {
			this.starting = undefined;
		});
		return this.starting;
	}

	private async start(): Promise<ModelChild> {
		if (this.failedStarts > this.maxRestarts) {
			const why = this.lastFailure instanceof Error ? this.lastFailure.message : this.lastFailure;
			const said = `hostModel: ${this.dir} could not be loaded ${this.failedStarts} times in a row and is not tried again`;
			throw new Error(`${said}; mend the cause and call hostModel anew. Last: ${why}`, { cause: this.lastFailure });
		}
		const child = new ModelChild(this.cwd);
		this.child = child;
		try {
			this.backendReason = await child.load(this.dir, this.options);
			this.failedStarts = 0;
			return child;
		} catch (error) {
			this.failedStarts++;
			this.lastFailure = error;
			await child.kill();
			throw error;
		}
	}

	/** One call, from the end of the one before it until the model's process is free again. */
	private async run(
		inputs: ModelInputs,
		sampling: SamplingOptions,
		{ signal, onStep }: Pick<GenerateOptions, "signal" | "onStep">,
	): Promise<GenerateResult> {
		signal?.throwIfAborted();
		const faults: unknown[] = []; // what onStep threw, at most one
		let child: ModelChild | undefined;
		const abort = () => child?.abort();
		try {
			child = await this.ready();
			signal?.throwIfAborted();
			signal?.addEventListener("abort", abort);
			const result = await child.generate(inputs, sampling, (running, rows) => {
				if (signal?.aborted || faults.length > 0) return;
				try {
					onStep?.(running, rows);
				} catch (error) {
					faults.push(error);
					abort();
				}
			});
			if (faults.length === 0) return result;
		} catch (error) {
			this.refuseIfDisposed(error);
			if (child && error instanceof ModelHostCrashedError) this.startAgain();
			if (faults.length === 0) throw error;
		} finally {
			signal?.removeEventListener("abort", abort);
		}
		throw faults[0]; // as in-process
	}

	/** Loads again while nobody waits. A crash costs a call each time, so this can't loop; a failure is the next call's to see. */
	private startAgain(): void {
		this.ready().catch(() => undefined);
	}

	private refuseIfDisposed(cause?: unknown): void {
		if (this.disposed) throw new Error("hostModel: the model was disposed; make another with hostModel", { cause });
	}
}
