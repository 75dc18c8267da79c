/**
 * What the parent and the model's process say to each other, over Node's IPC channel with advanced serialization: typed arrays,
 * numbers and texts, never a tensor.
 *
 * One request (`load`, then `generate` after `generate`) is out at a time and has exactly one answer; `step` comes in between.
 * An error is packed by hand: structured cloning would lose its name, its code and its class.
 */
import { BackendUnavailableError } from "../../backend/backend-unavailable-error.js";
import type { GenerateOptions, GenerateResult, ModelInputs } from "../generative-model.js";
import type { LoadModelOptions } from "../qwen2_5_vl/load.js";

/** Of `GenerateOptions` what can be sent; the signal becomes `abort`, the callback `step`. */
export type SamplingOptions = Omit<GenerateOptions, "signal" | "onStep">;

/** Has one answer. */
export type Request =
	| { type: "load"; dir: string; options: LoadModelOptions }
	| { type: "generate"; id: number; inputs: ModelInputs; options: SamplingOptions };

/** `abort` names its call: it may arrive when that one is over. */
export type ParentMessage = Request | { type: "abort"; id: number };

export type Answer =
	| { type: "loaded"; backendReason: string }
	| { type: "generated"; result: GenerateResult }
	| { type: "failed"; error: PackedError };

/** `ready` comes once, first: what is sent before it may go to a listener that a preloaded module (`--require`) has put up. */
export type ChildMessage = { type: "ready" } | Answer | { type: "step"; running: number; rows: number };

/** An error as data. */
export interface PackedError {
	name: string;
	message: string;
	/** The stack in the process where it was thrown. */
	stack?: string;
	/** Node's, such as `ENOENT`. */
	code?: string;
	cause?: PackedError;
	/** The fields of a BackendUnavailableError. */
	unavailable?: Pick<BackendUnavailableError, "backend" | "problem" | "wayOut">;
}

/** @param thrown whatever was thrown; what is no Error becomes one. */
export function packError(thrown: unknown): PackedError {
	if (!(thrown instanceof Error)) return { name: "Error", message: String(thrown) };
	const { name, message, stack, cause } = thrown;
	const { code } = thrown as NodeJS.ErrnoException;
	const unavailable =
		thrown instanceof BackendUnavailableError ? { backend: thrown.backend, problem: thrown.problem, wayOut: thrown.wayOut } : undefined;
	return {
		...{ name, message, stack, unavailable },
		...(typeof code === "string" && { code }),
		...(cause !== undefined && { cause: packError(cause) }),
	};
}

const CLASSES: Record<string, new (message: string, options?: ErrorOptions) => Error> = { RangeError, TypeError, SyntaxError };

/** The error again: its message, name, code and stack, and its class where a caller may branch on it. */
export function unpackError({ name, message, stack, code, cause, unavailable }: PackedError): Error {
	const inner = cause && unpackError(cause);
	const error: Error = unavailable
		? new BackendUnavailableError(unavailable.backend, unavailable.problem, unavailable.wayOut, inner)
		: new (CLASSES[name] ?? Error)(message, inner && { cause: inner });
	if (error.name !== name) error.name = name;
	if (stack !== undefined) error.stack = stack;
	return code === undefined ? error : Object.assign(error, { code });
}
