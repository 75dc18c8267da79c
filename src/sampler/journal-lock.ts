/**
 * One writer per journal. A lock is a folder `<journal>.lock` whose time is renewed while its owner lives; `<journal>.owner.json` says who that is.
 *
 * On one machine the process itself is looked at, and the clock is not: a lock that was left behind by a killed process is taken over at once, and one
 * whose owner lives never is. One of another machine is taken over after a minute without renewal. Locks are taken one at a time (the guard), so that two processes can't both find the same one left behind.
 */
import { randomUUID } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import lockfile from "proper-lockfile";
import { z } from "zod";
import { JournalError } from "./journal-error.js";

const STALE_MS = 60_000;
const GUARD = { stale: 5_000, realpath: false, retries: { retries: 30, factor: 1, minTimeout: 50, maxTimeout: 250, randomize: true } };

/** Tells this process from an earlier one that had its number, as the first process of a container has each time. */
const PROCESS = randomUUID();

const owner = z.object({
	pid: z.number(),
	host: z.string(),
	process: z.string(),
	since: z.string(),
	/** When the process started, in the kernel's ticks: a number that is used again is not the process. Linux only. */
	start: z.string().optional(),
});
type Owner = z.output<typeof owner>;

/**
 * @param onLost is told if another process has taken the lock over, because this one slept
 * @returns what gives the lock back
 * @throws JournalError `locked` or `unwritable`
 */
export async function lockJournal(file: string, onLost: (error: Error) => void): Promise<() => Promise<void>> {
	const guard = await attempt(file, () => lockfile.lock(`${file}.lock-guard`, { ...GUARD, lockfilePath: `${file}.lock-guard` }));
	try {
		await lookAtOwner(file);
		const options = { lockfilePath: `${file}.lock`, stale: STALE_MS, realpath: false, onCompromised: onLost };
		const release = await attempt(file, () => lockfile.lock(file, options));
		const own: Owner = {
			pid: process.pid,
			host: hostname(),
			process: PROCESS,
			since: new Date().toISOString(),
			start: await startOf(process.pid),
		};
		await attempt(file, () => writeOwner(file, own)).catch(async (error) => {
			await release();
			throw error;
		});
		return async () => {
			await rm(ownerFile(file), { force: true });
			await release();
		};
	} finally {
		await guard();
	}
}

const ownerFile = (file: string) => `${file}.owner.json`;

/** Whole at once: whoever finds the lock taken reads it. */
async function writeOwner(file: string, own: Owner): Promise<void> {
	await writeFile(`${ownerFile(file)}.new`, JSON.stringify(own));
	await rename(`${ownerFile(file)}.new`, ownerFile(file));
}

async function attempt<T>(file: string, action: () => Promise<T>): Promise<T> {
	try {
		return await action();
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code !== "ELOCKED") {
			const message = `${file}: can't be locked: ${(cause as Error).message}; is its folder there, writable and not full?`;
			throw new JournalError("unwritable", message, { cause });
		}
		throw lockedBy(file, await readOwner(file), cause);
	}
}

function lockedBy(file: string, held: Owner | undefined, cause?: unknown): JournalError {
	const who = held ? `process ${held.pid} on ${held.host}, since ${held.since}` : "another process";
	const wayOut = `wait for it, or use another journal; a process of another machine that is gone counts as such after ${STALE_MS / 1000} s`;
	return new JournalError("locked", `${file}: is being written by ${who}; ${wayOut}`, { cause });
}

/** Removes a lock whose owner was killed. @throws JournalError `locked` where its owner lives; where that can't be known the lock's time decides. */
async function lookAtOwner(file: string): Promise<void> {
	const held = await readOwner(file);
	if (!held || held.host !== hostname()) return;
	if (held.process === PROCESS) throw lockedBy(file, held);
	const start = await startOf(held.pid);
	if (held.pid === process.pid || !isAlive(held.pid) || start !== held.start) await rm(`${file}.lock`, { recursive: true, force: true });
	else if (start !== undefined) throw lockedBy(file, held);
}

/** Field 22 of /proc/PID/stat; the second may hold spaces and ends with the last parenthesis. */
async function startOf(pid: number): Promise<string | undefined> {
	try {
		const stat = await readFile(`/proc/${pid}/stat`, "utf8");
		return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
	} catch (error) {
		if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
		throw error;
	}
}

/** Undefined where there is none, or one that was being written when its process ended. */
async function readOwner(file: string): Promise<Owner | undefined> {
	try {
		return owner.parse(JSON.parse(await readFile(ownerFile(file), "utf8")));
	} catch (error) {
		const torn = error instanceof SyntaxError || error instanceof z.ZodError;
		if (torn || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}
