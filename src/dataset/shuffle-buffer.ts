import { contentHash } from "./content-hash.js";

/**
 * Shuffles a stream through a buffer of `size` items: once the buffer is full, each new item takes the place of a random one,
 * which is passed on; at the end the rest comes out in random order. So an item moves forward at most `size - 1` places and
 * back without limit; a `size` of the whole stream is a uniform shuffle, 0 or 1 leave the order as it is.
 * The result depends on the seed, the size and the input's order alone.
 */
export async function* shuffleThroughBuffer<T>(items: AsyncIterable<T>, size: number, seed: number): AsyncGenerator<T> {
	if (size <= 1) {
		yield* items;
		return;
	}
	const buffer: T[] = [];
	let draws = 0;
	const pick = (below: number) => contentHash("shuffle", seed, draws++).readUIntBE(0, 6) % below;
	for await (const item of items) {
		if (buffer.length < size) {
			buffer.push(item);
			continue;
		}
		const place = pick(size);
		const taken = buffer[place];
		buffer[place] = item;
		yield taken;
	}
	while (buffer.length > 0) {
		const place = pick(buffer.length);
		const taken = buffer[place];
		buffer[place] = buffer[buffer.length - 1];
		buffer.pop();
		yield taken;
	}
}
