/**
 * One process with the model in it, seen from the parent: from its start to its end.
 *
 * The child is a file of its own: `model-process.ts` under tsx or vitest, dist's `model-process.js` (ES modules, also for a parent
 * in CommonJS) otherwise. It keeps the parent alive only while a request is out. Its stderr goes to the parent's, as if the model
 * were in-process, and the last of it is kept for the error.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { GenerateOptions, GenerateResult, ModelInputs } from "../generative-model.js";
import type { LoadModelOptions } from "../qwen2_5_vl/load.js";
import { type Answer, type ChildMessage, type ParentMessage, type Request, type SamplingOptions, unpackError } from "./messages.js";
import { ModelHostCrashedError } from "./model-host-crashed-error.js";

const LAST_OUTPUT_CHARS = 8192;
const LAST_OUTPUT_LINES = 30;

/** The request that is out. */
interface Pending {
	doing: string;
	resolve: (answer: Answer) => void;
	reject: (error: unknown) => void;
	onStep?: GenerateOptions["onStep"];
}

export class ModelChild {
	private readonly child: ChildProcess;
	private pending?: Pending;
	private calls = 0;
	private lastOutput = "";
	private over = false;
	/** Sent when the process is ready to listen. */
	private first?: Request;
	/** Resolves when the process is gone and nothing of it is left. */
	readonly ended: Promise<void>;

	/** @param cwd what relative paths are relative to */
	constructor(cwd: string) {
		this.child = forkModelProcess(cwd);
		this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			this.lastOutput = (this.lastOutput + text).slice(-LAST_OUTPUT_CHARS);
			process.stderr.write(text);
		});
		this.child.on("message", (message: ChildMessage) => this.receive(message));
		this.ended = new Promise((resolve) => {
			const end = (reasonFor: (pending: Pending) => Error) => {
				this.over = true;
				const { pending } = this;
				if (pending) this.settle().reject(reasonFor(pending));
				resolve();
			};
			this.child.on("close", () => end(({ doing }) => this.crash(doing)));
			// Without a process there is no "close": the system refused to start it.
			this.child.on("error", (cause) => {
				if (this.child.pid === undefined) end(() => new Error(`hostModel: can't start ${process.execPath}: ${cause.message}`, { cause }));
			});
		});
		this.hold(false);
	}

	get pid(): number | undefined {
		return this.child.pid;
	}

	/** Whether requests may still be made. */
	get alive(): boolean {
		return !this.over && this.child.exitCode === null && this.child.signalCode === null;
	}

	/** @returns the backend's reason. @throws what `loadModel` throws there; ModelHostCrashedError */
	async load(dir: string, options: LoadModelOptions): Promise<string> {
		const answer = await this.request({ type: "load", dir, options }, "while loading the model");
		return expectType(answer, "loaded").backendReason;
	}

	/** @throws what the model's `generate` throws there; ModelHostCrashedError */
	async generate(inputs: ModelInputs, options: SamplingOptions, onStep: NonNullable<GenerateOptions["onStep"]>): Promise<GenerateResult> {
		this.calls++;
		const { inputIds, attentionMask, pixelValues, imageGridThw } = inputs;
		const sent = { inputIds, attentionMask, pixelValues, imageGridThw };
		const answer = await this.request({ type: "generate", id: this.calls, inputs: sent, options }, "while generating", onStep);
		return expectType(answer, "generated").result;
	}

	/** Stops the call that is out, if one is, within one decode step; the call then rejects. */
	abort(): void {
		if (this.pending) this.send({ type: "abort", id: this.calls });
	}

	/** Ends the process at once. Nothing is lost: it owns no files. */
	async kill(): Promise<void> {
		this.child.ref();
		this.child.kill("SIGKILL");
		await this.ended;
	}

	private request(message: Request, doing: string, onStep?: GenerateOptions["onStep"]): Promise<Answer> {
		return new Promise((resolve, reject) => {
			if (!this.alive) return reject(this.crash(doing));
			this.pending = { doing, resolve, reject, onStep };
			this.hold(true);
			try {
				if (message.type === "load") this.first = message;
				else this.send(message);
			} catch (error) {
				this.settle().reject(error); // something in it can't be cloned
			}
		});
	}

	private send(message: ParentMessage): void {
		// The callback keeps a closed channel from being an "error" event; the process's end says it.
		this.child.send(message, () => undefined);
	}

	private receive(message: ChildMessage): void {
		if (!this.pending) return;
		if (message.type === "ready") this.sendFirst();
		else if (message.type === "step") this.pending.onStep?.(message.running, message.rows);
		else if (message.type === "failed") this.settle().reject(unpackError(message.error));
		else this.settle().resolve(message);
	}

	private sendFirst(): void {
		if (this.first) this.send(this.first);
	}

	/** Takes the request that is out off the list. */
	private settle(): Pending {
		const pending = this.pending as Pending; // callers have looked
		this.pending = undefined;
		this.hold(false);
		return pending;
	}

	/** Whether the child keeps the parent's event loop alive. */
	private hold(on: boolean): void {
		const handles = [this.child, this.child.channel, this.child.stderr as Socket | null];
		for (const handle of handles) on ? handle?.ref?.() : handle?.unref?.();
	}

	private crash(doing: string): ModelHostCrashedError {
		const { exitCode, signalCode: signal } = this.child;
		const lastOutput = this.lastOutput.trimEnd().split("\n").slice(-LAST_OUTPUT_LINES).join("\n");
		return new ModelHostCrashedError(doing, { exitCode, signal, lastOutput });
	}
}

/** `execArgv` is our own: a debugger's port or a loader of the parent's is not handed on. NODE_OPTIONS is. */
function forkModelProcess(cwd: string): ChildProcess {
	const fromSource = import.meta.url.endsWith(".ts");
	const file = fileURLToPath(new URL(fromSource ? "./model-process.ts" : "./model-process.js", import.meta.url));
	const tsx = () => pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
	const execArgv = fromSource ? ["--import", tsx()] : [];
	return fork(file, [], { cwd, execArgv, serialization: "advanced", stdio: ["ignore", "inherit", "pipe", "ipc"] });
}

function expectType<T extends Answer["type"]>(answer: Answer, type: T): Extract<Answer, { type: T }> {
	if (answer.type === type) return answer as Extract<Answer, { type: T }>;
	throw new Error(`hostModel: expected the answer "${type}" of the model's process, got "${answer.type}"`);
}
