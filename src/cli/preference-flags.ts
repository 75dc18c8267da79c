/** Flags of `train` that say what is learned; names and values are LLaMA-Factory's. */
import { type DpoOptions, PREFERENCE_LOSSES } from "../index.js";
import { choice, flag, positive, real } from "./flag.js";

export const preferenceFlags = {
	stage: flag(
		choice("sft", "dpo").default("sft"),
		"sft: conversations are imitated; dpo: pairs of a chosen and a rejected answer are learned from (direct preference optimization)",
		"NAME",
	),
	pref_beta: flag(positive().default(0.1), "with --stage dpo: how closely the model that training begins with is kept to", "X"),
	pref_loss: flag(choice(...PREFERENCE_LOSSES).default("sigmoid"), "with --stage dpo: sigmoid, ipo or hinge", "NAME"),
	pref_ftx: flag(real(0).default(0), "with --stage dpo: weight of imitating the chosen answers beside", "X"),
	dpo_label_smoothing: flag(real(0, 0.499).default(0), "with --stage dpo: how likely a pair is the wrong way round", "X"),
};

export interface PreferenceChoice {
	stage: "sft" | "dpo";
	pref_beta: number;
	pref_loss: (typeof PREFERENCE_LOSSES)[number];
	pref_ftx: number;
	dpo_label_smoothing: number;
}

/** Undefined where conversations are imitated. */
export function dpoOptions(flags: PreferenceChoice): DpoOptions | undefined {
	if (flags.stage === "sft") return undefined;
	return { beta: flags.pref_beta, loss: flags.pref_loss, ftx: flags.pref_ftx, labelSmoothing: flags.dpo_label_smoothing };
}
