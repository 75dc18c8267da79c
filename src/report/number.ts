/** Numbers as the report writes them. */
import type { Proportion } from "../reward/wilson-interval.js";

const GROUPED = new Intl.NumberFormat("en-US");

export const number = (value: number) => GROUPED.format(value);

export const percent = (share: number) => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);

/** "62.2–71.4 %" */
export const interval = ({ of, interval: [low, high] }: Proportion) =>
	of === 0 ? "–" : `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)} %`;
