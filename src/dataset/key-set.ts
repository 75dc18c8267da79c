/**
 * A set of record keys, 8 bytes a slot and at most 70 % full: 12 to 23 bytes a key, where a Set of strings takes some 80. So rows that
 * repeat an earlier one are found in a data set of millions in tens of megabytes.
 */
const FULL = 0.7;

export class KeySet {
	private slots: BigUint64Array;
	private count = 0;
	private hasZero = false;

	/** @param capacity slots to begin with, a power of two */
	constructor(capacity = 1024) {
		this.slots = new BigUint64Array(capacity);
	}

	/** @param key 16 hex digits @returns whether it is new */
	add(key: string): boolean {
		const value = BigInt(`0x${key}`);
		if (value === 0n) {
			const isNew = !this.hasZero;
			this.hasZero = true;
			return isNew;
		}
		const slot = slotOf(this.slots, value);
		if (this.slots[slot] === value) return false;
		this.slots[slot] = value;
		if (++this.count > FULL * this.slots.length) this.grow();
		return true;
	}

	private grow(): void {
		const larger = new BigUint64Array(2 * this.slots.length);
		for (const value of this.slots) if (value !== 0n) larger[slotOf(larger, value)] = value;
		this.slots = larger;
	}
}

/** The value's slot, or the empty one where it belongs. Keys are hashes: their low bits are as good as any. */
function slotOf(slots: BigUint64Array, value: bigint): number {
	const mask = slots.length - 1;
	let slot = Number(value & 0xffff_ffffn) & mask;
	while (slots[slot] !== 0n && slots[slot] !== value) slot = (slot + 1) & mask;
	return slot;
}
