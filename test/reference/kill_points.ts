/**
 * Kills 50 runs with SIGKILL at random moments, continues each with another batch size, and compares the files byte by byte with those of a run that was
 * never interrupted: `npx tsx test/reference/kill_points.ts [POINTS] > test/reference/kill_points.txt` (about two minutes on two cores).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { filesOf, journalRun, killAndContinue } from "../sampler/kill-points.js";

const points = Number(process.argv[2] ?? 50);
const folder = await mkdtemp(join(tmpdir(), "rft-kill-"));
const references: Record<string, { files: string[]; milliseconds: number }> = {};
for (const how of ["sampled", "greedy"]) {
	const { milliseconds } = await journalRun(join(folder, how), 7, how);
	references[how] = { files: await filesOf(join(folder, how)), milliseconds };
}
let [equal, killed, ended] = [0, 0, 0];
console.log("point  judged   killed after  journal then  journal at the end  files");
for (let i = 0; killed < points && ended < 2 * points; i++) {
	const how = i % 5 === 4 ? "greedy" : "sampled";
	const { files, milliseconds } = references[how];
	const after = Math.random() * milliseconds;
	const sizes: [number, number] = [1 + Math.floor(Math.random() * 20), 1 + Math.floor(Math.random() * 20)];
	const point = await killAndContinue(join(folder, `run-${i}`), how, after, sizes, files);
	await rm(join(folder, `run-${i}`), { recursive: true });
	if (point.killed) killed++;
	else ended++;
	// One that had ended before it could be killed proves nothing, unless its files differ.
	if (!point.killed && point.equal) continue;
	equal += Number(point.equal);
	const cells = [String(killed).padStart(5), how.padEnd(8), `${after.toFixed(0)} ms`.padStart(11), String(point.lines).padStart(13)];
	console.log(`${cells.join(" ")} ${String(point.after).padStart(19)}  ${point.equal ? "the same bytes" : "DIFFERENT"}`);
}
console.log(`${equal} of ${killed} killed runs ended with the same bytes; ${ended} more had ended before they could be killed`);
await rm(folder, { recursive: true });
process.exitCode = equal === points && killed === points ? 0 : 1;
