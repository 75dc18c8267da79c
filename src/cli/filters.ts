/** The filters that a command's flags ask for, in the order in which they are asked. */
import {
	cap,
	correct,
	decontaminate,
	difficultyBand,
	kOfN,
	labelConfidence,
	lengthBand,
	loadDataset,
	majority,
	nearDuplicateImages,
	nearDuplicatePrompts,
	type RolloutFilter,
	repetition,
	scoresAgree,
	swapConsistent,
	unforced,
	wellFormed,
} from "../index.js";
import type { FilterOptions } from "./options.js";
import { readMapping } from "./records.js";
import type { Session } from "./session.js";

/** @throws DatasetError, Error for an evaluation set or an image of it that can't be read. */
export async function chooseFilters(options: FilterOptions, session: Session): Promise<RolloutFilter[]> {
	const { min_tokens: min, max_tokens: max, max_repetition, min_right, max_per_order, max_per_record } = options;
	return [
		...(await recordFilters(options, session)),
		wellFormed(),
		correct(),
		...(options.thinking_budget === undefined || options.keep_forced ? [] : [unforced()]),
		...(min !== undefined || max !== undefined ? [lengthBand({ min, max })] : []),
		...(max_repetition === undefined ? [] : [repetition({ max: max_repetition })]),
		...(options.scores_agree ? [scoresAgree()] : []),
		...(min_right === undefined ? [] : [kOfN(min_right)]),
		...(options.majority ? [majority()] : []),
		...(options.both_orders_rule ? [swapConsistent({ oneOrder: options.max_one_order })] : []),
		...(max_per_order === undefined ? [] : [cap(max_per_order, { per: "order" })]),
		...(max_per_record === undefined ? [] : [cap(max_per_record)]),
	];
}

async function recordFilters(options: FilterOptions, session: Session): Promise<RolloutFilter[]> {
	const { min_confidence: minConfidence, min_vote_share: minVoteShare, min_votes: minVotes } = options;
	const { min_pass_rate: min, max_pass_rate: max, dedup_images, dedup_prompts, max_per_prompt } = options;
	const label = [minConfidence, minVoteShare, minVotes].some((asked) => asked !== undefined);
	return [
		...(label ? [labelConfidence({ minConfidence, minVoteShare, minVotes })] : []),
		...(options.decontaminate === undefined ? [] : [await withoutEvaluationSet(options.decontaminate, options, session)]),
		...(dedup_images === undefined ? [] : [nearDuplicateImages({ maxDistance: dedup_images })]),
		...(dedup_prompts === undefined ? [] : [nearDuplicatePrompts({ similarity: dedup_prompts, max: max_per_prompt })]),
		...(min === undefined && max === undefined ? [] : [difficultyBand({ min: min ?? 0, max: max ?? 1 })]),
	];
}

async function withoutEvaluationSet(
	sources: string[],
	{ decontaminate_image_root: imageRoot, decontaminate_mapping }: FilterOptions,
	session: Session,
): Promise<RolloutFilter> {
	const mapping = await readMapping("--decontaminate_mapping", decontaminate_mapping);
	session.note(`decontaminate: reading ${sources.join(", ")}`);
	return decontaminate(loadDataset(sources, { imageRoot, mapping, order: "stored", duplicates: "keep" }));
}
