/** Kills training runs with SIGKILL and lets them go on; what is left at the end is read for comparison. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { withoutClock } from "./without-clock.js";

/** Of training-run.ts. */
export const STEPS = 12;

/** @param kill the step after whose line of metrics, and how many milliseconds later. Default: the run is left alone. */
export async function trainingRun(folder: string, kill?: { step: number; delay: number }): Promise<"ended" | "killed"> {
	await mkdir(folder, { recursive: true });
	const child = spawn(process.execPath, ["--import", "tsx", "test/trainer/training-run.ts", folder], {
		stdio: ["ignore", "ignore", "pipe"],
	});
	let stderr = "";
	child.stderr.on("data", (data) => (stderr += data));
	const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
	if (kill) {
		const order = path.join(folder, "order.jsonl");
		const reached = async () =>
			existsSync(order) && (await readFile(order, "utf8")).split("\n").some((line) => line.startsWith(`[${kill.step},`));
		while (child.exitCode === null && !(await reached())) await setTimeout(5);
		await setTimeout(kill.delay);
		child.kill("SIGKILL");
	}
	const code = await ended;
	if (code === null) return "killed";
	if (code !== 0) throw new Error(`the training run ended with ${code}: ${stderr}`);
	return "ended";
}

/** The run's weights, moments, metrics (without what a clock measures) and the rows of each step, as they were in the end. */
export async function remainsOf(folder: string): Promise<{ weights: Buffer; optimizer: Buffer; metrics: unknown[]; order: unknown[] }> {
	const lines = async (...names: string[]) => (await readFile(path.join(folder, ...names), "utf8")).trim().split("\n");
	const metrics = (await lines("logs", "metrics.jsonl")).map(withoutClock);
	const order = new Map((await lines("order.jsonl")).map((line) => JSON.parse(line) as [number, number[]]));
	return {
		weights: await readFile(path.join(folder, "out", "model.safetensors")),
		optimizer: await readFile(path.join(folder, "out", `checkpoint-${STEPS}`, "optimizer.safetensors")),
		metrics,
		order: [...order],
	};
}
