/**
 * The items of groups, one at a time: an iterator written by hand, because a step of an async generator takes three turns of the queue of microtasks,
 * which for rows of JSON is a third of what parsing them takes (docs/decisions/2026-11-24-stream-json.md).
 *
 * It behaves as the generator `for await (const group of groups) yield* group` does: nothing is read before the first step, steps that are asked for at
 * once are answered in turn, and whoever stops early closes what is behind it.
 */
export function eachOfGroups<T>(groups: AsyncGenerator<readonly T[]>): AsyncIterableIterator<T, undefined, undefined> {
	let group: readonly T[] = [];
	let at = 0;
	/** The last of the steps that wait for a group. */
	let waiting: Promise<unknown> | undefined;

	async function nextGroup(): Promise<IteratorResult<T, undefined>> {
		while (at >= group.length) {
			const next = await groups.next();
			if (next.done) return { done: true, value: undefined };
			[group, at] = [next.value, 0];
		}
		return { done: false, value: group[at++] };
	}

	/** After the steps before it, whatever they came to. */
	function inTurn<R>(step: () => Promise<R>): Promise<R> {
		const turn = waiting ? waiting.then(step, step) : step();
		waiting = turn;
		const leave = () => {
			if (waiting === turn) waiting = undefined;
		};
		turn.then(leave, leave);
		return turn;
	}

	return {
		next() {
			if (waiting === undefined && at < group.length) return Promise.resolve({ done: false, value: group[at++] });
			return inTurn(nextGroup);
		},
		return() {
			return inTurn(async () => {
				[group, at] = [[], 0];
				await groups.return(undefined);
				return { done: true, value: undefined };
			});
		},
		[Symbol.asyncIterator]() {
			return this;
		},
	};
}
