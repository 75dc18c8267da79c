/** A share of a count, with the interval that 95 % of such intervals hold the true share in. */
export interface Proportion {
	count: number;
	of: number;
	/** count / of; NaN (null in JSON) where `of` is 0. */
	value: number;
	/** Wilson's 95 % interval; [0, 1] where `of` is 0. */
	interval: readonly [number, number];
}

/** The normal distribution's 97.5 % quantile. */
const Z = 1.959963984540054;

/**
 * Wilson's score interval, which stays inside [0, 1] and keeps its width at 0 of n and n of n.
 * Trials are taken as independent: several samples of one record are not quite, and then it is somewhat too narrow.
 * E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
 */
export function proportion(count: number, of: number): Proportion {
	if (of === 0) return { count, of, value: Number.NaN, interval: [0, 1] };
	const value = count / of;
	const scale = 1 + Z ** 2 / of;
	const centre = (value + Z ** 2 / (2 * of)) / scale;
	const half = (Z / scale) * Math.sqrt((value * (1 - value)) / of + Z ** 2 / (4 * of ** 2));
	return { count, of, value, interval: [Math.max(0, centre - half), Math.min(1, centre + half)] };
}

/** "65.2 % (61.9–68.4)", "–" for nothing of nothing. */
export function formatProportion({ of, value, interval: [low, high] }: Proportion): string {
	if (of === 0) return "–";
	const percent = (share: number) => (share * 100).toFixed(1);
	return `${percent(value)} % (${percent(low)}–${percent(high)})`;
}
