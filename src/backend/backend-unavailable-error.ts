import type { BackendName } from "./select-backend.js";

/** A backend that was asked for by name and cannot be had. It is never replaced by another one. */
export class BackendUnavailableError extends Error {
	override readonly name = "BackendUnavailableError";
	/** What was asked for. */
	readonly backend: BackendName;
	/** Why it cannot be had. */
	readonly problem: string;
	/** What the user can do. */
	readonly wayOut: string;

	constructor(backend: BackendName, problem: string, wayOut: string, cause?: unknown) {
		super(`backend "${backend}" was asked for but cannot be had: ${problem}; ${wayOut}`, { cause });
		this.backend = backend;
		this.problem = problem;
		this.wayOut = wayOut;
	}
}
