/** What a round of rejection-sampling fine-tuning is given, and what comes of it. */

/** One round to play: sample, filter, train, evaluate. */
export interface RoundTask {
	/** From 1. */
	round: number;
	/** Of this round's files, `round-<n>` in the run's folder; it is there. A round that was interrupted finds in it what it had written. */
	folder: string;
	/** The checkpoint that judges: the newest. */
	sampleWith: string;
	/** The checkpoint that is fine-tuned: the first judge, or with `trainFrom: "newest"` the newest. */
	trainFrom: string;
	/** The rounds before, the first one first. */
	earlier: readonly RoundResult[];
}

/** What playing a round gives. */
export interface RoundOutcome {
	/** The judge that the round has made. */
	checkpoint: string;
	/** How good it is on the pairs that are chosen by: more is better. */
	accuracy: number;
	/** Whatever else is worth keeping, as JSON: evaluations, counts. */
	facts?: unknown;
}

export interface RoundResult extends RoundOutcome {
	/** From 1; 0 is the judge that the run began with. */
	round: number;
	folder: string;
	/** Whether it is the best so far, the first judge among them; a tie goes to the earlier. */
	isBest: boolean;
}
