/** What a second round draws after a first one, with a judge that is right by the caption. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cotConfiguration, generateCoT, loadDataset, openJournal, planSamples, type Rollout, type SamplePlan } from "../../src/index.js";
import { fakeModel } from "../../src/testing.js";

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-plan-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Always right on red circles, right in one shown order of others. */
const answer = (conversation: { content: unknown }[]) => {
	const text = JSON.stringify(conversation);
	const preferredFirst = text.indexOf("two-red-circles") < text.indexOf("one-red-circle");
	const right = text.includes("two red circles") && !preferredFirst ? 2 : 1;
	return `<think>Looking.</think>\n<answer>Image ${right} is better</answer>`;
};

async function draw(name: string, plan: SamplePlan, seed: number): Promise<Rollout[]> {
	const sampling = { samplesPerRecord: plan.samplesOf, seed };
	const configuration = cotConfiguration({ model: { fake: name }, processor: {} }, sampling);
	await using journal = await openJournal(join(folder, name), { configuration });
	const drawn: Rollout[] = [];
	const records = loadDataset("hpdv3:test/fixtures/hpdv3/pairs.json", { order: "both" });
	for await (const rollout of generateCoT(records, fakeModel({ answer }), { ...sampling, journal })) drawn.push(rollout);
	return drawn;
}

const captions = (rollouts: Rollout[]) => {
	const counts: Record<string, number> = {};
	for (const { record } of rollouts) counts[record.prompt.slice(0, 15)] = (counts[record.prompt.slice(0, 15)] ?? 0) + 1;
	return counts;
};

it("a first round asks all alike; the next ones skip what was always right and carry its judgements on", async () => {
	const first = await planSamples([], { samplesPerRecord: 3 });
	expect(first.pairs).toEqual({ skipped: 0, more: 0, same: 0 });
	const one = await draw("1", first, 1);
	expect(captions(one)).toEqual({ "two red circles": 6, "a blue triangle": 6, "one red circle,": 6, "a red circle on": 6 });

	const second = await planSamples([join(folder, "1")], { samplesPerRecord: 3 });
	expect(second.pairs).toEqual({ skipped: 1, more: 3, same: 0 });
	const two = await draw("2", second, 2);
	expect(captions(two)).toEqual({ "a blue triangle": 8, "one red circle,": 8, "a red circle on": 8 });
	const carried: Rollout[] = [];
	for await (const rollout of second.carried()) carried.push(rollout);
	expect(carried).toEqual(one.filter(({ record }) => record.prompt === "two red circles"));

	const third = await planSamples([join(folder, "1"), join(folder, "2")], { samplesPerRecord: 3 });
	const again: Rollout[] = [];
	for await (const rollout of third.carried()) again.push(rollout);
	expect(again).toEqual(carried);
});
