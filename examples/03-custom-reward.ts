/**
 * A reward of your own in the filter. A reward is a plain function of a completion and its record; this one asks that the stated totals
 * agree with the answer. It runs on a fake judge: the pipeline around a model needs no weights to be tried out or tested.
 *
 *     npx tsx examples/03-custom-reward.ts
 */
import { accuracyReward, formatReward, generateCoT, loadDataset, type Reward, rejectFiltered } from "../src/index.js";
import { fakeModel } from "../src/testing.js";

/**
 * 1 if the higher total is the answer's image, else 0.
 * Passes: "<think>… totals 25-21.</think><answer>Image 1 is better</answer>"; fails: the same with "Image 2".
 */
const totalsAgree: Reward = (completion) => {
	const totals = /totals (\d+)-(\d+)/.exec(completion);
	const answer = /<answer>Image ([12]) is better<\/answer>/.exec(completion);
	if (!totals || !answer) return 0;
	return Number(totals[1]) > Number(totals[2]) === (answer[1] === "1") ? 1 : 0;
};

// A judge that answers by its seed, and states totals that do not always agree.
const judge = fakeModel({
	answer: (_, seed) =>
		`<think>Scores: totals ${20 + (seed % 5)}-${20 + (seed % 3)}.</think>\n<answer>Image ${1 + (seed % 2)} is better</answer>`,
});
const records = loadDataset("hpdv3:examples/data/train.json", { order: "both", limit: 50 });
const reasons = new Map<string, number>();
const accepted = rejectFiltered(generateCoT(records, judge, { samplesPerRecord: 4 }), {
	rewards: [formatReward, accuracyReward, totalsAgree],
	onRejected: ({ outcome }) => void reasons.set(outcome, (reasons.get(outcome) ?? 0) + 1),
});
let kept = 0;
for await (const { completion, record } of accepted) {
	if (kept++ === 0) console.log(`first kept, for “${record.prompt}”:\n${completion}\n`);
}
console.log(`${kept} kept of ${accepted.stats.total}; rejected:`, Object.fromEntries(reasons));
