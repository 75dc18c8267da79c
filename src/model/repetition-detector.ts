/** Finds rows that go round in circles. */
import type { RepetitionDetection } from "./generative-model.js";

/** @returns a function that is told each token of a row and says whether the row's end repeats itself; its time per token is the pattern sizes' */
export function repetitionDetector({ maxPatternSize, minPatternSize = 1, minCount }: RepetitionDetection): (token: number) => boolean {
	const tokens: number[] = [];
	/** For each pattern size, how many tokens up to now equal the one a pattern before them. */
	const matching = new Int32Array(maxPatternSize + 1);
	return (token) => {
		tokens.push(token);
		let found = false;
		for (let size = minPatternSize; size <= maxPatternSize && size < tokens.length; size++) {
			matching[size] = tokens[tokens.length - 1 - size] === token ? matching[size] + 1 : 0;
			if (matching[size] >= size * (minCount - 1)) found = true;
		}
		return found;
	};
}

/** @throws RangeError */
export function checkRepetitionDetection(
	{ maxPatternSize, minPatternSize = 1, minCount }: RepetitionDetection,
	where = "generate: repetitionDetection",
): void {
	const wrong = (what: string, expected: string, got: number) => {
		throw new RangeError(`${where}: ${what}: expected a whole number, ${expected}, got ${got}`);
	};
	if (!Number.isInteger(minPatternSize) || minPatternSize < 1) wrong("minPatternSize", "1 or more", minPatternSize);
	if (!Number.isInteger(maxPatternSize) || maxPatternSize < minPatternSize)
		wrong("maxPatternSize", `${minPatternSize} (minPatternSize) or more`, maxPatternSize);
	if (!Number.isInteger(minCount) || minCount < 2) wrong("minCount", "2 or more", minCount);
}
