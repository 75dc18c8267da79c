import { contentHash } from "./content-hash.js";

/** A stream, and how often it is drawn from beside the others. */
export interface WeightedStream<T> {
	items: AsyncIterable<T>;
	weight: number;
}

/**
 * Mixes streams: each item comes from one that is drawn by its weight, among those that have not ended. So every item comes, each stream's in
 * their order, and while all last, the shares are those of the weights. The result depends on the seed and the streams alone; each is read as far
 * as its items are taken.
 */
export async function* interleave<T>(streams: readonly WeightedStream<T>[], seed: number): AsyncGenerator<T> {
	let open = streams.map(({ items, weight }) => ({ iterator: items[Symbol.asyncIterator](), weight }));
	let draws = 0;
	try {
		while (open.length > 0) {
			const drawn = draw(open, contentHash("interleave", seed, draws++).readUIntBE(0, 6) / 2 ** 48);
			const next = await drawn.iterator.next();
			if (next.done) open = open.filter((stream) => stream !== drawn);
			else yield next.value;
		}
	} finally {
		for (const { iterator } of open) await iterator.return?.(undefined);
	}
}

/** @param point from 0 up to 1 */
function draw<T extends { weight: number }>(streams: readonly T[], point: number): T {
	let left = point * streams.reduce((sum, { weight }) => sum + weight, 0);
	for (const stream of streams) {
		left -= stream.weight;
		if (left < 0) return stream;
	}
	return streams[streams.length - 1]; // rounding
}
