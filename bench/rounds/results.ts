/** What bench/rounds.ts writes. */
import type { Score } from "./recipe.js";

/** A fine-tuned judge, on the held-out pairs. */
export interface Measured extends Score {
	seed: number;
	conversations: number;
	steps: number;
}

export interface Results {
	machine: string;
	/** The judge that all begin with. */
	before?: Score;
	rounds: (Measured & { round: number; devAccuracy: number; drawn: number; pairs: object })[];
	ablations: (Measured & { name: string })[];
}
