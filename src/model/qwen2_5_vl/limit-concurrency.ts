/** At most so many at a time; the others wait in the order in which they came. */
export function limitConcurrency(limit: number): <T>(action: () => Promise<T>) => Promise<T> {
	const waiting: (() => void)[] = [];
	let running = 0;
	return async (action) => {
		if (running < limit) running++;
		else await new Promise<void>((go) => waiting.push(go));
		try {
			return await action();
		} finally {
			const next = waiting.shift();
			if (next) next();
			else running--;
		}
	};
}
