/**
 * Direct preference optimization (Rafailov et al. 2023), its loss and where it comes from: a model shall raise the chosen answer of a pair over the
 * rejected one by more than the model that it began as did (the reference). Losses as trl's DPOTrainer has them (trainer/dpo_trainer.py,
 * _compute_loss), label smoothing as the conservative DPO of earlier ones, the SFT term as LLaMA-Factory's `pref_ftx`.
 *
 * The loss depends on an answer's tokens through the sum of their log-probabilities, so its gradient at each of them is one number per answer:
 * given these as weights, the rest is cross-entropy (loss.ts).
 *
 * Legend: P pairs of a micro-batch, 2P answers (the chosen ones first), N labelled tokens.
 */
import {
	abs,
	add,
	cast,
	concat,
	div,
	exp,
	greaterEqual,
	log,
	matMul,
	maximum,
	mul,
	neg,
	reshape,
	sigmoid,
	split,
	stack,
	sub,
	type Tensor1D,
	type Tensor2D,
} from "../backend/tf.js";

export const PREFERENCE_LOSSES = ["sigmoid", "ipo", "hinge"] as const;
export type PreferenceLoss = (typeof PREFERENCE_LOSSES)[number];

/** How pairs are learned from; see DpoOptions. */
export interface PreferenceLossOptions {
	beta: number;
	loss: PreferenceLoss;
	labelSmoothing: number;
	ftx: number;
}

/** The pairs of a micro-batch, on the device. */
export type PairTensors = {
	/** [2P, N] 1 where a token is of an answer. */
	members: Tensor2D;
	/** [2P] log-probabilities of the answers before training. */
	reference: Tensor1D;
	/** [2P] tokens of the answers. */
	lengths: Tensor1D;
	/** [P] what each pair counts in the step's mean. */
	shares: Tensor1D;
};

/** What is reported beside the loss, by TRL's names: means over pairs. */
export const PREFERENCE_METRICS = [
	...["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"],
] as const;

/**
 * @param tokens [N] log-probabilities
 * @param members [2P, N] see PairTensors
 * @returns [2P] the answers' log-probabilities
 */
export function sumByAnswer(tokens: Tensor1D, members: Tensor2D): Tensor1D {
	return reshape(matMul(members, reshape(tokens, [-1, 1]) as Tensor2D), [-1]);
}

/**
 * To be called in a tidy.
 *
 * @param tokens [N] log-probabilities
 * @returns `shares` [7] of the step's loss and of PREFERENCE_METRICS; `weights` [N] minus the loss's gradient at `tokens`
 */
export function preferenceLoss(
	tokens: Tensor1D,
	{ members, reference, lengths, shares }: PairTensors,
	options: PreferenceLossOptions,
): { shares: Tensor1D; weights: Tensor1D } {
	const logProbs = sumByAnswer(tokens, members);
	const gains = sub(logProbs, reference) as Tensor1D;
	// IPO's squares would grow with the length: TRL takes means over tokens there, as IPO's authors do.
	const compared = options.loss === "ipo" ? (div(gains, lengths) as Tensor1D) : gains;
	const { loss, slope } = lossOfMargins(sub(...halves(compared)) as Tensor1D, options);
	const [chosen, rejected] = halves(mul(gains, options.beta));
	const accuracies = sub(1, cast(greaterEqual(rejected, chosen), "float32"));
	const [chosenLogProbs, rejectedLogProbs] = halves(logProbs);
	const imitation = neg(div(chosenLogProbs, halves(lengths)[0])); // mean over an answer's tokens
	const total = options.ftx === 0 ? loss : add(loss, mul(imitation, options.ftx));
	const means = stack([total, chosen, rejected, accuracies, sub(chosen, rejected), chosenLogProbs, rejectedLogProbs]) as Tensor2D; // [7, P]

	const both = concat([slope, neg(slope)]);
	const ofAnswers = options.loss === "ipo" ? div(both, lengths) : both;
	const pulled = concat([mul(shares, options.ftx), mul(shares, 0)]);
	const weights = sub(div(pulled, lengths), mul(ofAnswers, concat([shares, shares]))); // [2P]
	return {
		shares: reshape(matMul(means, reshape(shares, [-1, 1]) as Tensor2D), [-1]),
		weights: reshape(matMul(reshape(weights, [1, -1]) as Tensor2D, members), [-1]),
	};
}

/** @param x [2P] @returns those of the chosen and of the rejected answers, [P] each */
const halves = (x: Tensor1D) => split(x, 2) as [Tensor1D, Tensor1D];

/** @param margins [P] by how much more the chosen answer gained @returns the losses and their derivatives, [P] */
function lossOfMargins(margins: Tensor1D, { beta, loss, labelSmoothing }: PreferenceLossOptions): Record<"loss" | "slope", Tensor1D> {
	const z = mul(margins, beta) as Tensor1D;
	if (loss === "hinge") {
		const short = sub(1, cast(greaterEqual(z, 1), "float32"));
		return { loss: maximum(sub(1, z), 0) as Tensor1D, slope: mul(short, -beta) as Tensor1D };
	}
	if (loss === "ipo") {
		const distance = sub(margins, 1 / (2 * beta));
		return { loss: mul(distance, distance) as Tensor1D, slope: mul(distance, 2) as Tensor1D };
	}
	// −(1 − s) · log σ(z) − s · log σ(−z)
	const smoothed = add(softplus(neg(z)), mul(z, labelSmoothing));
	return { loss: smoothed as Tensor1D, slope: mul(sub(sigmoid(z), 1 - labelSmoothing), beta) as Tensor1D };
}

/** log(1 + exp(x)) where exp(x) may be infinite. */
function softplus(x: Tensor1D): Tensor1D {
	return add(maximum(x, 0), log(add(exp(neg(abs(x))), 1)));
}
