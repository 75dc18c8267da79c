/** Intervals of the tables: the held-out pairs are drawn again with replacement, for all seeds and both sides of a difference alike. */
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Right judgements of one evaluation, a digit each; two of a pair stand side by side. */
export type Right = string;

const DRAWS = 10_000;
const mean = (xs: readonly number[]) => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** Share of right judgements of each pair, over all evaluations. */
function byPair(evaluations: readonly Right[]): number[] {
	return Array.from({ length: evaluations[0].length / 2 }, (_, pair) =>
		mean(evaluations.map((right) => (Number(right[2 * pair]) + Number(right[2 * pair + 1])) / 2)),
	);
}

export interface Interval {
	mean: number;
	ci: [number, number];
}

/** Of the mean over pairs and evaluations. @param minus evaluations of the other side, on the same pairs. Default: none */
export function bootstrap(evaluations: readonly Right[], minus?: readonly Right[]): Interval {
	const other = minus && byPair(minus);
	const values = byPair(evaluations).map((value, pair) => value - (other?.[pair] ?? 0));
	const random = xoroshiro128plus(1);
	const draw = () => mean(values.map(() => values[uniformInt(random, 0, values.length - 1)]));
	const means = Array.from({ length: DRAWS }, draw).sort((a, b) => a - b);
	return { mean: mean(values), ci: [means[Math.floor(0.025 * DRAWS)], means[Math.ceil(0.975 * DRAWS) - 1]] };
}

/** Between seeds, of their means. */
export function standardDeviation(evaluations: readonly Right[]): number {
	const means = evaluations.map((right) => mean([...right].map(Number)));
	return Math.sqrt(means.reduce((sum, x) => sum + (x - mean(means)) ** 2, 0) / (means.length - 1));
}
