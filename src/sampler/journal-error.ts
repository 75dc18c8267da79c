/** What a caller may branch on when a journal can't be used. */

/**
 * `locked`: another process writes it; `mismatch`: it belongs to another configuration (`differences` says which); `damaged`: a line or the header
 * can't be trusted; `unreadable`: the file isn't there, or can't be read; `unwritable`: the disk is full, read-only, or the lock was lost.
 */
export class JournalError extends Error {
	override readonly name = "JournalError";

	constructor(
		readonly kind: "locked" | "mismatch" | "damaged" | "unreadable" | "unwritable",
		message: string,
		{ differences = [], cause }: { differences?: readonly string[]; cause?: unknown } = {},
	) {
		super(message, { cause });
		this.differences = differences;
	}

	/** For `mismatch`: "sampling.temperature: 1 in the journal, 0.7 now", one each. */
	readonly differences: readonly string[];
}
