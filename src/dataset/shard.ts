/**
 * A part of a data set for one of several machines. A record belongs to a shard by its key, so by its content: the shards of one data set have
 * no record in common and miss none, whatever the order of files and rows, and a record stays in its shard when others are added.
 */

/** `2/8`: the second of eight shards, from `1/8` to `8/8`. */
export type ShardName = `${number}/${number}`;

export interface Shard {
	/** From 0. */
	index: number;
	count: number;
}

/** @throws RangeError for anything but `i/n` with 1 ≤ i ≤ n. */
export function parseShard(name: string): Shard {
	const [, index, count] = /^(\d{1,9})\/(\d{1,9})$/.exec(name) ?? [];
	if (Number(index) >= 1 && Number(index) <= Number(count)) return { index: Number(index) - 1, count: Number(count) };
	throw new RangeError(`shard: expected i/n with i from 1 to n, such as 1/4 to 4/4, got ${JSON.stringify(name)}`);
}

/** @param key hexadecimal, of a hash; its first 48 bits decide. */
export function inShard(key: string, { index, count }: Shard): boolean {
	return Number.parseInt(key.slice(0, 12), 16) % count === index;
}
