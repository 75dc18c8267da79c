/**
 * Who is judged well and what is kept: counts by source, generators, label confidence, shown position, length and difficulty. From the
 * same counts comes the selection's shift: where the shares of the kept differ from the shares of all, the filters have made the training data
 * look different from what was sampled.
 */
import { correctAnswer } from "./correct-answer.js";
import type { JudgedRollout } from "./outcome.js";
import { isRight, type PassRate } from "./pass-rate.js";
import { type Proportion, proportion } from "./wilson-interval.js";

/** The rollouts of one value of a property. */
export interface BreakdownRow {
	value: string;
	total: number;
	kept: number;
	/** Right among those that named a winner. */
	accuracy: Proportion;
	/** Of all rollouts, and of all kept ones; 0 where there are none. */
	shareOfAll: number;
	shareOfKept: number;
}

export interface BreakdownTable {
	/** The most frequent first; bands in their order. */
	rows: BreakdownRow[];
	/** Half the sum of the differences between both shares: 0 where the kept are as all, 1 where they have nothing in common. */
	shift: number;
}

export const BREAKDOWNS = ["source", "model1", "model2", "confidence", "preferredShown", "tokens", "difficulty"] as const;
export type StatsBreakdown = Record<(typeof BREAKDOWNS)[number], BreakdownTable>;

/** Takes rollouts one by one, and says at any time what they come to. */
export interface BreakdownCollector {
	/** @param rate of its record. */
	add(rollout: JudgedRollout, rate: PassRate): void;
	breakdown(): StatsBreakdown;
}

interface Counts {
	total: number;
	kept: number;
	answered: number;
	right: number;
	/** Rows stand in its order. */
	place: number;
}

/** Bounds memory, whatever the data says its generators are; further values are counted as "(others)". */
const MOST_VALUES = 500;
const NONE = "(none)";

export function collectBreakdown(): BreakdownCollector {
	const tables = Object.fromEntries(BREAKDOWNS.map((name) => [name, new Map<string, Counts>()])) as Record<
		keyof StatsBreakdown,
		Map<string, Counts>
	>;
	return {
		add(rollout, rate) {
			for (const [name, [value, place]] of Object.entries(propertiesOf(rollout, rate))) {
				const counts = countsFor(tables[name as keyof StatsBreakdown], value, place);
				counts.total++;
				if (rollout.rejectedBy === undefined) counts.kept++;
				if (rollout.answer !== undefined) counts.answered++;
				if (isRight(rollout)) counts.right++;
			}
		},
		breakdown: () => Object.fromEntries(BREAKDOWNS.map((name) => [name, tableOf(tables[name])])) as StatsBreakdown,
	};
}

/** Each property's value, and where its row stands; 0 for those that stand by frequency. */
function propertiesOf({ record, numTokens }: JudgedRollout, rate: PassRate): Record<keyof StatsBreakdown, [string, number]> {
	const { source, model1 = NONE, model2 = NONE, confidence } = record;
	const shown = correctAnswer(record);
	return {
		source: [`${source.name}:${source.file}`, 0],
		model1: [model1, 0],
		model2: [model2, 0],
		confidence: confidence === undefined ? [NONE, -1] : tenth(confidence),
		preferredShown: [shown === 1 ? "first" : "second", shown],
		tokens: tokenBand(numTokens),
		difficulty: difficultyOf(rate),
	};
}

function tenth(share: number): [string, number] {
	// 1 belongs to the last band; the small term undoes 0.7 * 10 = 7.000…1 and its like.
	const band = Math.min(9, Math.floor(share * 10 + 1e-9));
	return [`${(band / 10).toFixed(1)}–${((band + 1) / 10).toFixed(1)}`, band];
}

function tokenBand(tokens: number): [string, number] {
	if (tokens === 0) return ["0", -1];
	const power = Math.floor(Math.log2(tokens));
	return [power === 0 ? "1" : `${2 ** power}–${2 ** (power + 1) - 1}`, power];
}

/** By the record's pass rate. */
function difficultyOf({ right, of, rate }: PassRate): [string, number] {
	if (of === 0) return [NONE, -1];
	if (right === 0) return ["never right", 0];
	if (right === of) return ["always right", 5];
	const quarter = Math.min(3, Math.floor(rate * 4));
	return [["below 1/4 right", "1/4 to 1/2 right", "1/2 to 3/4 right", "above 3/4 right"][quarter], quarter + 1];
}

function countsFor(table: Map<string, Counts>, value: string, place: number): Counts {
	const known = table.has(value) || table.size < MOST_VALUES;
	const key = known ? value : "(others)";
	const counts = table.get(key) ?? { total: 0, kept: 0, answered: 0, right: 0, place: known ? place : 1 };
	table.set(key, counts);
	return counts;
}

function tableOf(table: Map<string, Counts>): BreakdownTable {
	const [all, kept] = [sumOf(table, "total"), sumOf(table, "kept")];
	const rows = [...table]
		.sort(([, a], [, b]) => a.place - b.place || b.total - a.total)
		.map(([value, counts]) => ({
			value,
			total: counts.total,
			kept: counts.kept,
			accuracy: proportion(counts.right, counts.answered),
			shareOfAll: counts.total / all,
			shareOfKept: kept === 0 ? 0 : counts.kept / kept,
		}));
	const shift = kept === 0 ? 0 : rows.reduce((sum, row) => sum + Math.abs(row.shareOfAll - row.shareOfKept), 0) / 2;
	return { rows, shift };
}

function sumOf(table: Map<string, Counts>, field: "total" | "kept"): number {
	return [...table.values()].reduce((sum, counts) => sum + counts[field], 0);
}
