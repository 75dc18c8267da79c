/**
 * Appends in groups: what comes while a group is being flushed makes up the next one, so that a line waits for two flushes at most and many lines share
 * one. Each write is one append of whole lines.
 */
import { type FileHandle, open } from "node:fs/promises";

interface Waiting {
	bytes: Buffer;
	resolve: (offset: number) => void;
	reject: (error: unknown) => void;
}

export class JournalWriter {
	/** Once a write has failed nothing more is written: the file may end in a part of a line. */
	private failure: unknown;
	private waiting: Waiting[] = [];
	private flushing: Promise<void> | undefined;

	private constructor(
		private readonly handle: FileHandle,
		private end: number,
	) {}

	/** @param end the file's length */
	static async open(file: string, end: number): Promise<JournalWriter> {
		return new JournalWriter(await open(file, "a"), end);
	}

	/** @returns the line's offset, when it is on the disk. */
	append(bytes: Buffer): Promise<number> {
		if (this.failure !== undefined) return Promise.reject(this.failure);
		return new Promise((resolve, reject) => {
			this.waiting.push({ bytes, resolve, reject });
			this.flushing ??= this.flushAll();
		});
	}

	/** Makes every later append fail with `error`. */
	fail(error: unknown): void {
		this.failure ??= error;
	}

	async close(): Promise<void> {
		await this.flushing;
		this.failure ??= new Error("it is closed");
		await this.handle.close();
	}

	private async flushAll(): Promise<void> {
		for (let group = this.waiting.splice(0); group.length > 0; group = this.waiting.splice(0)) await this.flush(group);
		this.flushing = undefined;
	}

	private async flush(group: Waiting[]): Promise<void> {
		try {
			if (this.failure !== undefined) throw this.failure;
			await this.handle.appendFile(Buffer.concat(group.map(({ bytes }) => bytes)));
			await this.handle.datasync();
		} catch (error) {
			this.failure ??= error;
			for (const { reject } of group) reject(this.failure);
			return;
		}
		for (const { bytes, resolve } of group) {
			resolve(this.end);
			this.end += bytes.length;
		}
	}
}
