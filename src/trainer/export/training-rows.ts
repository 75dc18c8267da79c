/**
 * What a filtered record gives to train on, before any trainer's layout: kept judgements to imitate (SFT), questions that were answered
 * wrongly to practise on (GRPO), and a kept beside a wrong judgement of the same question (DPO). All is in the order in which the images
 * were shown: a question is a record *and* its shown order, and pairs are made within one question only.
 */
import type { FilteredRecord } from "../../reward/filter-rollouts.js";
import type { JudgedRollout } from "../../reward/outcome.js";
import { type ToConversationOptions, toConversation } from "../to-conversation.js";

export const EXPORT_KINDS = ["sft", "grpo", "dpo"] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

/** A question as the judge read it: `<image>` stands for each image. */
interface Question {
	question: string;
	images: string[];
}

/** Where a row came from. */
interface RowOrigin {
	key: string;
	source: string;
	row: number;
	order: number[];
	preferred: number;
}

export interface SftRow extends Question {
	answer: string;
	provenance: RowOrigin & { sampleIndex: number; seed: number };
}

export interface GrpoRow extends Question {
	/** The right answer, as the judge should write it. */
	solution: string;
	/** How often the record was judged right, over both orders. */
	provenance: RowOrigin & { right: number; of: number };
}

export interface DpoRow extends Question {
	chosen: string;
	rejected: string;
	provenance: RowOrigin & { chosenSample: number; chosenSeed: number; rejectedSample: number; rejectedSeed: number };
}

export interface TrainingRows {
	sft: SftRow[];
	grpo: GrpoRow[];
	dpo: DpoRow[];
}

/** @param options.imageRoot as in `toConversation`. */
export function trainingRows(record: FilteredRecord, options: Pick<ToConversationOptions, "imageRoot"> = {}): TrainingRows {
	const rows: TrainingRows = { sft: [], grpo: [], dpo: [] };
	if (record.excludedBy !== undefined) return rows;
	for (const first of [0, 1]) {
		const judgements = record.rollouts.filter(({ record: { order } }) => order[0] === first);
		const kept = judgements.filter(({ rejectedBy, answerText }) => rejectedBy === undefined && answerText !== undefined);
		const wrong = judgements.filter(({ outcome }) => outcome === "wrong");
		rows.sft.push(...kept.map((rollout) => sftRow(rollout, options)));
		if (wrong.length > 0) rows.grpo.push(grpoRow(wrong[0], record, options));
		const right = kept.filter(({ outcome }) => outcome === "accepted");
		// Each judgement in one pair at most, so that a lucky guess among many wrong ones is not learned many times over.
		for (const [i, chosen] of right.slice(0, wrong.length).entries()) rows.dpo.push(dpoRow(chosen, wrong[i], options));
	}
	return rows;
}

function sftRow(rollout: JudgedRollout, options: ToConversationOptions): SftRow {
	const { question, answer, images, origin } = exported(rollout, options);
	const { sampleIndex, seed } = rollout;
	return { question, answer, images, provenance: { ...origin, sampleIndex, seed } };
}

function grpoRow(wrong: JudgedRollout, { passRate: { right, of } }: FilteredRecord, options: ToConversationOptions): GrpoRow {
	const { question, images, origin } = exported(wrong, options);
	const solution = `<answer>Image ${origin.order[0] === origin.preferred ? 1 : 2} is better</answer>`;
	return { question, solution, images, provenance: { ...origin, right, of } };
}

function dpoRow(chosen: JudgedRollout, rejected: JudgedRollout, options: ToConversationOptions): DpoRow {
	const { question, answer, images, origin } = exported(chosen, options);
	const samples = {
		chosenSample: chosen.sampleIndex,
		chosenSeed: chosen.seed,
		rejectedSample: rejected.sampleIndex,
		rejectedSeed: rejected.seed,
	};
	return { question, chosen: answer, rejected: exported(rejected, options).answer, images, provenance: { ...origin, ...samples } };
}

function exported(rollout: JudgedRollout, options: ToConversationOptions): Question & { answer: string; origin: RowOrigin } {
	const { conversations, images } = toConversation(rollout, options);
	const { key, source, order, preferred } = rollout.record;
	const origin = { key, source: `${source.name}:${source.file}`, row: source.row, order: [...order], preferred };
	const [question, answer] = conversations.map(({ value }) => withoutControlTokens(value));
	return { question, answer, images, origin };
}

/**
 * `<|im_end|>` to `<| im_end|>`: other trainers' tokenizers would take what a caption or a judge wrote for the end of a turn. This library's own
 * trainer reads it as text, so that `toConversation` leaves it.
 */
export function withoutControlTokens(text: string): string {
	return text.replace(/<\|(?=[^\s<>|]+\|>)/g, "<| ");
}
