/** Something that a function did and a graph cannot do. `op` is the op concerned. */
export class CaptureError extends Error {
	override readonly name = "CaptureError";
	/** The op, or the TensorFlow.js function where no op of the device is concerned. */
	readonly op: string;

	constructor(op: string, problem: string, wayOut: string) {
		super(`compile: ${problem}; ${wayOut}`);
		this.op = op;
	}
}
