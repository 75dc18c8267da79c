import type { GenerateCotOptions } from "../index.js";
import type { GuidingOptions } from "./options.js";

/** `generateCoT`'s options of the flags that say what a judgement may be. */
export function guidingOptions(
	options: Partial<GuidingOptions>,
): Pick<GenerateCotOptions, "score" | "constrainAnswers" | "thinkingBudget" | "repetitionDetection"> {
	const {
		repetition_min_count: minCount,
		repetition_min_pattern_size: minPatternSize,
		repetition_max_pattern_size: maxPatternSize,
	} = options;
	return {
		...{ score: options.score, constrainAnswers: options.constrain_answers, thinkingBudget: options.thinking_budget },
		...(minCount !== undefined && maxPatternSize !== undefined && { repetitionDetection: { minPatternSize, maxPatternSize, minCount } }),
	};
}
