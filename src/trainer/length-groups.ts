/**
 * Batches of rows of like length, and still random: transformers' LengthGroupedSampler (trainer_pt_utils.py, get_length_grouped_indices).
 * A permutation is cut into mega-batches of up to 50 batches, each is sorted by length, and the longest row of all comes first,
 * so that a run that needs too much memory ends soon.
 */

/**
 * @param order a permutation of the rows
 * @param lengths tokens of each row
 * @returns the same rows, those of like length together
 */
export function groupByLength(order: readonly number[], lengths: readonly number[], batchSize: number): number[] {
	const batches = Math.min(Math.floor(order.length / (batchSize * 4)), 50) || 1;
	const size = batches * batchSize;
	const megabatches: number[][] = [];
	for (let from = 0; from < order.length; from += size) {
		megabatches.push(order.slice(from, from + size).sort((a, b) => lengths[b] - lengths[a]));
	}
	const longest = megabatches.reduce((best, [first], i) => (lengths[first] > lengths[megabatches[best][0]] ? i : best), 0);
	[megabatches[0][0], megabatches[longest][0]] = [megabatches[longest][0], megabatches[0][0]];
	return megabatches.flat();
}
