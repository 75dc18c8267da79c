/**
 * Kills training runs with SIGKILL at random moments, each twice, continues them, and compares weights, moments, metrics and the order of rows with those
 * of a run that was left alone: `npx tsx test/reference/kill_training.ts [RUNS] > test/reference/kill_training.txt` (20 s a run on two cores).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { remainsOf, STEPS, trainingRun } from "../trainer/kill-training.js";

const runs = Number(process.argv[2] ?? 10);
const folder = await mkdtemp(join(tmpdir(), "rft-kill-training-"));
const random = (n: number) => Math.floor(Math.random() * n);
await trainingRun(join(folder, "straight"));
const expected = await remainsOf(join(folder, "straight"));
let [equal, kills] = [0, 0];
console.log("run  killed after steps    in the end");
for (let i = 1; i <= runs; i++) {
	const own = join(folder, String(i));
	// The first run is killed before its first checkpoint, or about then, and while it ends.
	const steps = i === 1 ? [1, STEPS] : [1 + random(STEPS / 2), 1 + STEPS / 2 + random(STEPS / 2)];
	const points = steps.map((step) => ({ step, delay: random(200) }));
	for (const point of points) if ((await trainingRun(own, point)) === "killed") kills++;
	await trainingRun(own);
	const got = await remainsOf(own);
	const different = Object.entries(expected).filter(([name, of]) => !isDeepStrictEqual(got[name as keyof typeof got], of));
	equal += Number(different.length === 0);
	const where = points.map(({ step, delay }) => `${step} + ${delay} ms`).join(", ");
	console.log(
		`${String(i).padStart(3)}  ${where.padEnd(20)}  ${different.length === 0 ? "the same bits" : `DIFFERENT: ${different.map(([name]) => name).join(", ")}`}`,
	);
}
console.log(`${equal} of ${runs} runs, killed ${kills} times in all, ended with the same weights, moments, metrics and order of rows`);
await rm(folder, { recursive: true });
process.exitCode = equal === runs ? 0 : 1;
