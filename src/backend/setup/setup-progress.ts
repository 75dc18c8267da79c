import type { SetupStep } from "./setup-error.js";

/** A fact about how far setup is; the caller draws the bar. */
export interface SetupProgress {
	step: SetupStep;
	/** What is being done, for a person. */
	detail: string;
	/** Done so far, in bytes; with `totalBytes` in the steps whose length is known. */
	doneBytes?: number;
	totalBytes?: number;
}

/** Receives each fact; must not throw. */
export type OnSetupProgress = (progress: SetupProgress) => void;
