/** Kills a run at a random moment, continues it with another batch size, and compares its files with those of one that was never interrupted. */
import { spawn } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

const FILES = ["filtered_samples.json", "rejected_samples.jsonl", "filtered_samples_stats.txt"];

interface Ended {
	signal: NodeJS.Signals | null;
	/** From "started" to the end. */
	milliseconds: number;
}

/** @param killAfter milliseconds after the run has started; without it the run ends by itself. */
export async function journalRun(folder: string, batchSize: number, how: string, killAfter?: number): Promise<Ended> {
	const args = ["--import", "tsx", "test/sampler/journal-run.ts", folder, String(batchSize), how];
	const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
	let [said, started] = ["", performance.now()];
	child.stderr.on("data", (data) => (said += data));
	child.stdout.on("data", () => {
		started = performance.now();
		if (killAfter !== undefined) void setTimeout(killAfter).then(() => child.kill("SIGKILL"));
	});
	const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
		child.on("close", (...ended) => resolve(ended));
	});
	if (code !== 0 && signal !== "SIGKILL") throw new Error(`the run ended with code ${code}: ${said}`);
	return { signal, milliseconds: performance.now() - started };
}

export const filesOf = (folder: string) => Promise.all(FILES.map((name) => readFile(join(folder, name), "utf8")));

/** Lines of whole rollouts, and bytes. */
export async function journalOf(folder: string): Promise<{ lines: number; bytes: number }> {
	const file = join(folder, "journal.jsonl");
	return { lines: (await readFile(file, "utf8")).split("\n").length - 2, bytes: (await stat(file)).size };
}

/** One point: what was in the journal when it was killed, and whether the files came out as `expected`. */
export async function killAndContinue(folder: string, how: string, killAfter: number, batchSizes: [number, number], expected: string[]) {
	const { signal } = await journalRun(folder, batchSizes[0], how, killAfter);
	const { lines } = await journalOf(folder);
	await journalRun(folder, batchSizes[1], how);
	const files = await filesOf(folder);
	return {
		killed: signal === "SIGKILL",
		lines,
		equal: files.every((text, i) => text === expected[i]),
		after: (await journalOf(folder)).lines,
	};
}
