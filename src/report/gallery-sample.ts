/**
 * Which judgements the gallery shows: a bounded number, drawn by a seed. Each judgement has a rank, a hash of the seed and of what it is, and those of least
 * rank are kept: whatever the order of the stream, the same ones. They are drawn evenly from every fate (kept, turned away by this filter, by that one), since
 * a plain draw would show hardly anything of what is rare, and the rare is what one wants to look at.
 */
import { createHash } from "node:crypto";
import type { JudgedRollout } from "../reward/outcome.js";
import type { PassRate } from "../reward/pass-rate.js";

export interface GalleryItem {
	rollout: JudgedRollout;
	/** What became of it: "kept", or what turned it away. */
	fate: string;
	passRate: PassRate;
}

interface Ranked extends GalleryItem {
	rank: string;
}

export interface GallerySampler {
	add(item: GalleryItem): void;
	/** @param order of the fates; `kept` is first, whatever it says. Within a fate by rank. */
	items(order: readonly string[]): GalleryItem[];
}

/** Bounds memory, whatever filters are called; further fates share one place. */
const MOST_FATES = 40;
const OTHERS = "(others)";

/** @param size at most so many in all; memory holds at most so many of each fate. */
export function sampleGallery(size: number, seed: number): GallerySampler {
	const byFate = new Map<string, Ranked[]>();
	return {
		add(item) {
			const fate = byFate.has(item.fate) || byFate.size < MOST_FATES ? item.fate : OTHERS;
			const ranked = byFate.get(fate) ?? [];
			byFate.set(fate, ranked);
			insert(ranked, { ...item, rank: rankOf(item.rollout, seed) }, size);
		},
		items(order) {
			const fates = ["kept", ...order, OTHERS].filter((fate) => byFate.has(fate));
			const shares = evenShares(
				fates.map((fate) => byFate.get(fate)?.length ?? 0),
				size,
			);
			return fates.flatMap((fate, i) => (byFate.get(fate) ?? []).slice(0, shares[i]).map(({ rank: _, ...item }) => item));
		},
	};
}

function rankOf({ record, sampleIndex, seed: own, completion }: JudgedRollout, seed: number): string {
	return createHash("sha256")
		.update(JSON.stringify([seed, record.key, record.order, sampleIndex, own, completion]))
		.digest("hex");
}

/** Into an ascending list of at most `size`. */
function insert(ranked: Ranked[], item: Ranked, size: number): void {
	let [low, high] = [0, ranked.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (ranked[middle].rank < item.rank) low = middle + 1;
		else high = middle;
	}
	if (low >= size) return;
	ranked.splice(low, 0, item);
	if (ranked.length > size) ranked.pop();
}

/** `total` shared out one by one to those that still have some. */
export function evenShares(available: readonly number[], total: number): number[] {
	const shares = available.map(() => 0);
	let left = Math.min(
		total,
		available.reduce((sum, count) => sum + count, 0),
	);
	while (left > 0) {
		for (const [i, count] of available.entries()) {
			if (left === 0 || shares[i] === count) continue;
			shares[i]++;
			left--;
		}
	}
	return shares;
}
