/**
 * Kills training runs with SIGKILL at random moments, each twice, continues them, and compares weights, moments, metrics and the order of rows with those
 * of a run that was left alone: `npx tsx test/reference/kill_training.ts [RUNS] > test/reference/kill_training.txt` (20 s a run on two cores).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { remainsOf, trainingRun } from "../trainer/kill-training.js";
import { STEPS } from "../trainer/training-run.js";

const runs = Number(process.argv[2] ?? 10);
const folder = await mkdtemp(join(tmpdir(), "rft-kill-training-"));
const random = (n: number) => Math.floor(Math.random() * n);
await trainingRun(join(folder, "straight"));
const expected = await remainsOf(join(folder, "straight"));
let [equal, kills] = [0, 0];
console.log("run  killed after steps    in the end");
for (let i = 1; i <= runs; i++) {
	const own = join(folder, String(i));
	const points = [1 + random(STEPS / 2), 1 + STEPS / 2 + random(STEPS / 2)].map((step) => ({ step, delay: random(200) }));
	for (const point of points) if ((await trainingRun(own, point)) === "killed") kills++;
	await trainingRun(own);
	const same = isDeepStrictEqual(await remainsOf(own), expected);
	equal += Number(same);
	const where = points.map(({ step, delay }) => `${step} + ${delay} ms`).join(", ");
	console.log(`${String(i).padStart(3)}  ${where.padEnd(20)}  ${same ? "the same bits" : "DIFFERENT"}`);
}
console.log(`${equal} of ${runs} runs, killed ${kills} times in all, ended with the same weights, moments, metrics and order of rows`);
await rm(folder, { recursive: true });
process.exitCode = equal === runs ? 0 : 1;
