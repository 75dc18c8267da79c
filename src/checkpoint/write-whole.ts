/**
 * A file that appears whole or not at all: written under a temporary name beside its place, flushed to the disk, renamed.
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * @param write fills the file (it may read what it wrote); if it throws, the temporary file is removed, and what was at `file` before is untouched.
 */
export async function writeWhole(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
	const temporary = `${file}.${process.pid}-${randomUUID().slice(0, 8)}.tmp`;
	const handle = await open(temporary, "wx+");
	try {
		try {
			await write(handle);
			await handle.sync();
		} finally {
			await handle.close();
		}
		await rename(temporary, file);
	} catch (error) {
		await rm(temporary, { force: true });
		throw diskFailure(file, error) ?? error;
	}
	await syncFolder(dirname(file));
}

/** Node's errors of a write don't say which file it was; those of `write`'s own sources are others and pass as they are. */
function diskFailure(file: string, error: unknown): Error | undefined {
	const { code = "", path, message } = error as NodeJS.ErrnoException;
	if (path !== undefined || !["ENOSPC", "EDQUOT", "EFBIG", "EIO"].includes(code)) return undefined;
	return new Error(`${file}: can't be written: ${message}`, { cause: error });
}

/** Makes the rename itself durable. Windows can't flush a folder and needs no such thing. */
export async function syncFolder(folder: string): Promise<void> {
	if (process.platform === "win32") return;
	const handle = await open(folder, "r");
	try {
		await handle.sync();
	} finally {
		await handle.close();
	}
}
