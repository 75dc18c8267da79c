/**
 * Where each key's line begins: a hash table in typed arrays with open addressing, 16 bytes a slot, at most 70 % full: 23 to 46 bytes a rollout, where a
 * Map of strings takes over 100 and ends at 16 million.
 *
 * Of a key's 128 bits the table keeps 64; who reads a line compares the whole key. A chance hit among ten million keys is 1 in 10¹².
 */
const FULL = 0.7;

export class JournalIndex {
	private words: Uint32Array;
	/** Of a line; 0 is an empty slot (the header is there). */
	private offsets: Float64Array;
	private count = 0;

	/** @param capacity slots to begin with, a power of two */
	constructor(private capacity = 1024) {
		this.words = new Uint32Array(2 * capacity);
		this.offsets = new Float64Array(capacity);
	}

	get size(): number {
		return this.count;
	}

	/** @param key 32 hex digits @returns the line's first byte in the file, or undefined */
	offsetOf(key: string): number | undefined {
		const [high, low] = wordsOf(key);
		return this.offsets[this.slotOf(high, low)] || undefined;
	}

	/** @returns false, and nothing is changed, where the key is there already */
	add(key: string, offset: number): boolean {
		const [high, low] = wordsOf(key);
		const slot = this.slotOf(high, low);
		if (this.offsets[slot] !== 0) return false;
		this.put(slot, high, low, offset);
		if (++this.count > FULL * this.capacity) this.grow();
		return true;
	}

	/** The key's slot, or the empty one where it belongs. */
	private slotOf(high: number, low: number): number {
		const mask = this.capacity - 1;
		let slot = low & mask;
		while (this.offsets[slot] !== 0 && (this.words[2 * slot] !== high || this.words[2 * slot + 1] !== low)) slot = (slot + 1) & mask;
		return slot;
	}

	private put(slot: number, high: number, low: number, offset: number): void {
		this.words[2 * slot] = high;
		this.words[2 * slot + 1] = low;
		this.offsets[slot] = offset;
	}

	private grow(): void {
		const { words, offsets } = this;
		this.capacity *= 2;
		this.words = new Uint32Array(2 * this.capacity);
		this.offsets = new Float64Array(this.capacity);
		for (const [i, offset] of offsets.entries()) {
			if (offset !== 0) this.put(this.slotOf(words[2 * i], words[2 * i + 1]), words[2 * i], words[2 * i + 1], offset);
		}
	}
}

function wordsOf(key: string): [number, number] {
	return [Number.parseInt(key.slice(0, 8), 16), Number.parseInt(key.slice(8, 16), 16)];
}
