/** Kill −9 at random moments: the same bytes as a run that was left alone. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { remainsOf, trainingRun } from "./kill-training.js";

const random = (n: number) => Math.floor(Math.random() * n);

describe.skipIf(nativeMissing)(`training on native-cpu (${nativeMissing ?? "staged"})`, () => {
	let folder: string;
	let expected: Awaited<ReturnType<typeof remainsOf>>;
	beforeAll(async () => {
		folder = await mkdtemp(path.join(tmpdir(), "rft-kill-training-"));
		await trainingRun(path.join(folder, "straight"));
		expected = await remainsOf(path.join(folder, "straight"));
		expect(expected.metrics).toHaveLength(12);
	});
	afterAll(() => rm(folder, { recursive: true }));

	// Random on purpose: each run of the suite tries others, and their names say which.
	it.each(Array.from({ length: 1 }, () => ({ first: 1 + random(5), second: 7 + random(5), delay: random(150) })))(
		"killed after steps $first and $second + $delay ms, it ends with the same weights, moments, metrics and order",
		async ({ first, second, delay }) => {
			const killed = path.join(folder, `killed-${first}-${second}-${delay}`);
			expect(await trainingRun(killed, { step: first, delay })).toBe("killed");
			await trainingRun(killed, { step: second, delay });
			await trainingRun(killed);
			const got = await remainsOf(killed);
			expect(got.metrics).toEqual(expected.metrics);
			expect(got.order).toEqual(expected.order);
			expect(got.weights.equals(expected.weights)).toBe(true);
			expect(got.optimizer.equals(expected.optimizer)).toBe(true);
		},
		120_000,
	);
});
