/**
 * A seeded random stream for the generator: the same name gives the same numbers on every machine.
 * The seed is a hash of a readable name ("heldout/17"), so that adding an item to one split moves no other item.
 * Source of the generator: mulberry32 (public domain, Tommy Ettinger).
 */
import { createHash } from "node:crypto";

export class Random {
	#state: number;

	/** @param name what the stream is for; streams of different names are independent. */
	constructor(name: string) {
		this.#state = createHash("sha256").update(name).digest().readUInt32LE(0);
	}

	/** Uniform in [0, 1). */
	next(): number {
		this.#state = (this.#state + 0x6d2b79f5) >>> 0;
		let t = this.#state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	}

	/** Uniform in [low, high). */
	between(low: number, high: number): number {
		return low + (high - low) * this.next();
	}

	/** A whole number in [0, bound). */
	below(bound: number): number {
		return Math.floor(this.next() * bound);
	}

	chance(probability: number): boolean {
		return this.next() < probability;
	}

	pick<T>(items: readonly T[]): T {
		return items[this.below(items.length)];
	}

	/** An item drawn in proportion to its weight. */
	weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
		const entries = Object.entries(weights) as [K, number][];
		let rest = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
		for (const [item, weight] of entries) {
			rest -= weight;
			if (rest < 0) return item;
		}
		return entries[entries.length - 1][0];
	}
}
