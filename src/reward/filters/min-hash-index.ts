/// <reference path="./minhash.d.ts" />
/**
 * Finds texts that share most of their words and word pairs with an earlier text, by MinHash: the share of equal values in two texts'
 * signatures estimates the Jaccard similarity of their sets, with a standard error of at most 0.045 for 128 values. Signatures are cut into bands of
 * four; only texts that share a band are compared, which misses a pair of similarity 0.6 once in 80 times and one of 0.8 never to speak of.
 * A. Broder, "On the resemblance and containment of documents" (1997). Signatures are the npm package `minhash`'s.
 */
import { Minhash } from "minhash";
import { nGrams, wordsOf } from "./words.js";

const VALUES = 128;
const BAND = 4;

/** What texts are compared by: their words and pairs of neighbours; the text itself where it has no word. */
export function shinglesOf(text: string): Set<string> {
	const words = wordsOf(text);
	return words.length === 0 ? new Set([text.trim()]) : new Set([...words, ...nGrams(words, 2)]);
}

export class MinHashIndex {
	private readonly signatures: Uint32Array[] = [];
	private readonly bands = Array.from({ length: VALUES / BAND }, () => new Map<string, number[]>());

	/** @param threshold least estimated similarity of texts that are near. @throws RangeError unless 0 < threshold ≤ 1. */
	constructor(private readonly threshold: number) {
		if (!(threshold > 0 && threshold <= 1)) throw new RangeError(`prompt similarity: expected a number in (0, 1], got ${threshold}`);
	}

	/** The numbers of earlier texts that are near; then, if there are none, adds this one. */
	nearOrAdd(text: string): number | undefined {
		const signature = signatureOf(text);
		const near = this.nearest(signature);
		if (near === undefined) this.insert(signature);
		return near;
	}

	/** The number of an earlier text that is near. */
	near(text: string): number | undefined {
		return this.nearest(signatureOf(text));
	}

	private nearest(signature: Uint32Array): number | undefined {
		for (const [i, band] of bandsOf(signature).entries()) {
			const found = this.bands[i].get(band)?.find((number) => similarity(signature, this.signatures[number]) >= this.threshold);
			if (found !== undefined) return found;
		}
		return undefined;
	}

	private insert(signature: Uint32Array): void {
		const number = this.signatures.push(signature) - 1;
		for (const [i, band] of bandsOf(signature).entries()) {
			const there = this.bands[i].get(band);
			if (there) there.push(number);
			else this.bands[i].set(band, [number]);
		}
	}
}

/** The share of equal values: an estimate of the Jaccard similarity. */
export function similarity(a: Uint32Array, b: Uint32Array): number {
	return a.reduce((equal, value, i) => equal + Number(value === b[i]), 0) / a.length;
}

export function signatureOf(text: string): Uint32Array {
	const minHash = new Minhash({ numPerm: VALUES });
	for (const shingle of shinglesOf(text)) minHash.update(shingle);
	return Uint32Array.from(minHash.hashvalues);
}

function bandsOf(signature: Uint32Array): string[] {
	return Array.from({ length: VALUES / BAND }, (_, i) => signature.subarray(i * BAND, (i + 1) * BAND).join());
}
