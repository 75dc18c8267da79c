/**
 * Maps a stream, in its order, with some items under way at once, so that what each waits for (the disk, a decoder) overlaps.
 * Errors have their place in the order, too: what comes before one is yielded first.
 */

/** What a promise came to, so that one that fails before its turn is no unhandled rejection. */
type Settled<T> = { value: T } | { error: unknown };

/**
 * @param ahead items taken and not yet yielded, at most: a slow consumer holds the source back.
 * @throws what `items` and `map` throw. Once it ends, by whatever way, nothing is under way any more.
 */
export async function* mapAhead<T, R>(items: AsyncIterable<T>, map: (item: T) => Promise<R>, ahead: number): AsyncGenerator<R> {
	const source = items[Symbol.asyncIterator]();
	const underWay: Promise<Settled<R>>[] = [];
	let ended = false;
	try {
		for (;;) {
			while (!ended && underWay.length < ahead) {
				const next = await settled(source.next());
				if ("error" in next) underWay.push(Promise.resolve(next));
				else if (!next.value.done) underWay.push(settled(map(next.value.value)));
				ended = "error" in next || next.value.done === true;
			}
			const first = await underWay.shift();
			if (!first) return;
			if ("error" in first) throw first.error;
			yield first.value;
		}
	} finally {
		await source.return?.();
		await Promise.all(underWay);
	}
}

async function settled<T>(promise: Promise<T>): Promise<Settled<T>> {
	try {
		return { value: await promise };
	} catch (error) {
		return { error };
	}
}
