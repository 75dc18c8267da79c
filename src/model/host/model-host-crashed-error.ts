/** The model's process ended by itself: a native crash, the kernel's out-of-memory killer, somebody's `kill`. */
export class ModelHostCrashedError extends Error {
	override readonly name = "ModelHostCrashedError";
	/** Its exit code; null when a signal ended it. */
	readonly exitCode: number | null;
	/** The signal that ended it, such as `SIGSEGV` or `SIGKILL`. */
	readonly signal: NodeJS.Signals | null;
	/** The last lines that it wrote to stderr. */
	readonly lastOutput: string;

	constructor(doing: string, { exitCode, signal, lastOutput }: Pick<ModelHostCrashedError, "exitCode" | "signal" | "lastOutput">) {
		const how = signal === null ? `ended with exit code ${exitCode}` : `was ended by ${signal}`;
		const said = lastOutput === "" ? "it wrote nothing to stderr" : `its last lines on stderr:\n${lastOutput}`;
		super(`hostModel: the model's process ${how} ${doing}; the next call starts another; ${said}`);
		this.exitCode = exitCode;
		this.signal = signal;
		this.lastOutput = lastOutput;
	}
}
