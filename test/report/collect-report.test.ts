import { describe, expect, it } from "vitest";
import { collectReport } from "../../src/report/collect-report.js";
import { evenShares, sampleGallery } from "../../src/report/gallery-sample.js";
import { html } from "../../src/report/html.js";
import { lengthBins, passRateBins } from "../../src/report/plots.js";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { correct } from "../../src/reward/filters/answer.js";
import { cap } from "../../src/reward/filters/cap.js";
import { gatherByRecord } from "../../src/reward/gather-by-record.js";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { rollout } from "../reward/rollouts.js";

const judged = (row: number, sampleIndex: number) =>
	judgeRollout(
		rollout(row, `<think>${sampleIndex}</think><answer>Image ${1 + ((row + sampleIndex) % 2)} is better</answer>`, { sampleIndex }),
	);
const many = Array.from({ length: 100 }, (_, i) => ({
	rollout: judged(i % 2, i),
	fate: i % 10 === 0 ? "rare" : "kept",
	passRate: { right: 1, of: 2, rate: 0.5 },
}));

describe("the gallery's draw", () => {
	it("is by seed, not by order, and even between fates", () => {
		const draw = (items: typeof many, seed: number) => {
			const sample = sampleGallery(12, seed);
			for (const item of items) sample.add(item);
			return sample.items(["rare"]).map((item) => [item.fate, item.rollout.sampleIndex]);
		};
		const drawn = draw(many, 1);
		expect(draw([...many].reverse(), 1)).toEqual(drawn);
		expect(draw(many, 2)).not.toEqual(drawn);
		expect(drawn.map(([fate]) => fate)).toEqual([...Array(6).fill("kept"), ...Array(6).fill("rare")]);
		expect(new Set(drawn.map(([, index]) => index)).size).toBe(12);
	});

	it.each([
		[[10, 10], 4, [2, 2]],
		[[1, 10, 10], 8, [1, 4, 3]],
		[[1, 2], 10, [1, 2]],
		[[], 5, []],
	])("of %j takes %d as %j", (available, total, shares) => expect(evenShares(available, total)).toEqual(shares));
});

it("counts add up, whoever turned them away", () => {
	const collector = collectReport({ filters: ["correct"], gallery: 3 });
	for (let row = 0; row < 2; row++) {
		const rollouts = [0, 1, 2].map((sample) => judged(row, sample));
		collector.add({ rollouts, passRate: { right: 1, of: 3, rate: 1 / 3 } });
	}
	const { total, kept, rejected, records, passRates, lengths, gallery } = collector.data();
	const wrong = rejected.wrong ?? 0;
	expect([total, records, kept + wrong]).toEqual([6, 2, 6]);
	expect(rejected).toEqual({ correct: 0, wrong });
	expect(passRates.get("1/3")?.total).toBe(2);
	expect([...lengths.values()].reduce((sum, { total: count }) => sum + count, 0)).toBe(6);
	expect(gallery.items).toHaveLength(3);
	expect(() => collectReport({ gallery: 1.5 })).toThrow("gallery: expected a whole number");
});

it("counts once for the filters' report and the page", async () => {
	const filters = [correct(), cap(1)];
	const rollouts = [0, 1].flatMap((row) => [0, 1, 2].map((sample) => judged(row, sample)));
	const page = collectReport({ filters: filters.map(({ name }) => name) });
	const kept = filterRollouts(rollouts, filters, { counts: page });
	for await (const _ of kept);
	const alone = filterRollouts(rollouts, filters);
	for await (const _ of alone);
	expect(kept.report).toEqual(alone.report);
	expect(page.data()).toMatchObject(alone.report);
	expect(page.data().total).toBe(6);
});

it("bins hold all, by bounds", () => {
	const counts = { total: 1, kept: 1 };
	expect(
		passRateBins(
			new Map([
				["0/2", counts],
				["2/2", counts],
				["0/0", counts],
			]),
		).map(({ name, total }) => [name, total]),
	).toEqual([
		["0/2", 1],
		["1/2", 0],
		["2/2", 1],
	]);
	const tenths = passRateBins(
		new Map([
			["1/100", counts],
			["99/100", counts],
			["100/100", counts],
			["1/2", counts],
			["0/3", counts],
		]),
	);
	expect(tenths.map(({ total }) => total)).toEqual([1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
	const lengths = lengthBins(
		new Map([
			[3, counts],
			[97, counts],
			[100, counts],
			[1000, counts],
		]),
	);
	expect(lengths.length).toBeLessThanOrEqual(25);
	expect(lengths.reduce((sum, { total }) => sum + total, 0)).toBe(4);
	expect(lengths[0]).toMatchObject({ name: "0", total: 1 });
});

it("rollouts of a record are gathered from where they lie apart", async () => {
	const apart = [judged(0, 1), judged(1, 0), judged(0, 0), judged(1, 1)];
	async function* read() {
		yield* apart;
	}
	const gathered = [];
	for await (const { record, sampleIndex } of gatherByRecord(read))
		gathered.push([record.key === apart[0].record.key ? 0 : 1, sampleIndex]);
	expect(gathered).toEqual([
		[0, 0],
		[0, 1],
		[1, 0],
		[1, 1],
	]);
});

it("html escapes values, not markup of its own", () => {
	expect(html`<p title="${`"'<&>`}">${["a<", html`<b>${"&"}</b>`, undefined, false, 1]}</p>`.markup).toBe(
		'<p title="&quot;&#39;&lt;&amp;&gt;">a&lt;<b>&amp;</b>1</p>',
	);
});
