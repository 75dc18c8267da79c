/** The losses in closed form, and their gradients against finite differences. */
import { beforeAll, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { type Tensor2D, tensor1d, tensor2d, tidy } from "../../src/backend/tf.js";
import { type PreferenceLossOptions, preferenceLoss } from "../../src/trainer/preference-loss.js";
import { tokenLogProbs } from "../../src/trainer/token-log-probs.js";

/** Two pairs: tokens 0 and 1 are the first's chosen answer, 2 the second's, 3 the first's rejected one, 4 and 5 the second's; 6 fills up. */
const OF_TOKENS = [0, 0, 1, 2, 3, 3];
const LENGTHS = [2, 1, 1, 2];
const REFERENCE = [-2.5, -1, -2, -4.5];
const TOKENS = [-0.5, -1.25, -2, -3, -1, -0.75, -9];

const sigmoidOf = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.log1p(Math.exp(x));

function lossOf(tokens: number[], options: PreferenceLossOptions) {
	return tidy(() => {
		const members = Float32Array.from({ length: 28 }, (_, i) => (OF_TOKENS[i % 7] === Math.floor(i / 7) ? 1 : 0));
		const pairs = {
			members: tensor2d(members, [4, 7]),
			reference: tensor1d(REFERENCE),
			lengths: tensor1d(LENGTHS),
			shares: tensor1d([0.5, 0.5]),
		};
		const { shares, weights } = preferenceLoss(tensor1d(tokens), pairs, options);
		return { shares: Array.from(shares.dataSync()), weights: Array.from(weights.dataSync()) };
	});
}

/** The same in plain numbers. */
function expectedLoss(tokens: number[], { beta, loss, labelSmoothing: s, ftx }: PreferenceLossOptions): number {
	const logProbs = LENGTHS.map((_, answer) => tokens.reduce((sum, token, i) => sum + (OF_TOKENS[i] === answer ? token : 0), 0));
	const ofPair = (pair: number) => {
		const per = (answer: number) => (loss === "ipo" ? LENGTHS[answer] : 1);
		const margin = (logProbs[pair] - REFERENCE[pair]) / per(pair) - (logProbs[pair + 2] - REFERENCE[pair + 2]) / per(pair + 2);
		const z = beta * margin;
		const losses = {
			sigmoid: (1 - s) * softplus(-z) + s * softplus(z),
			hinge: Math.max(0, 1 - z),
			ipo: (margin - 1 / (2 * beta)) ** 2,
		};
		return losses[loss] - (ftx * logProbs[pair]) / LENGTHS[pair];
	};
	return (ofPair(0) + ofPair(1)) / 2;
}

const CASES: PreferenceLossOptions[] = [
	{ beta: 0.1, loss: "sigmoid", labelSmoothing: 0, ftx: 0 },
	{ beta: 0.5, loss: "sigmoid", labelSmoothing: 0.2, ftx: 0 },
	{ beta: 0.3, loss: "sigmoid", labelSmoothing: 0, ftx: 0.7 },
	{ beta: 0.3, loss: "hinge", labelSmoothing: 0, ftx: 0 },
	{ beta: 0.9, loss: "hinge", labelSmoothing: 0, ftx: 0.1 },
	{ beta: 0.5, loss: "ipo", labelSmoothing: 0, ftx: 0 },
	{ beta: 0.1, loss: "ipo", labelSmoothing: 0, ftx: 0.2 },
];

beforeAll(async () => {
	await selectBackend("cpu");
});

describe.each(CASES)("%j", (options) => {
	it("is the closed form, and TRL's metrics beside it", () => {
		const [loss, ...metrics] = lossOf(TOKENS, options).shares;
		expect(loss).toBeCloseTo(expectedLoss(TOKENS, options), 5);
		const { beta } = options;
		const [chosen, rejected] = [(beta * (0.75 - 1)) / 2, (beta * (-1 + 2.75)) / 2]; // (−1.75 + 2.5, −2 + 1), (−3 + 2, −1.75 + 4.5)
		const expected = [chosen, rejected, 0.5, chosen - rejected, -1.875, -2.375];
		for (const [i, value] of metrics.entries()) expect(value).toBeCloseTo(expected[i], 5);
	});

	it("has the gradient of finite differences at every token, and none where rows only fill up", () => {
		const { weights } = lossOf(TOKENS, options);
		for (const [i, weight] of weights.entries()) {
			const at = (by: number) => expectedLoss(TOKENS.with(i, TOKENS[i] + by), options);
			expect(weight).toBeCloseTo(-(at(1e-4) - at(-1e-4)) / 2e-4, 5);
		}
		expect(weights[6] + 0).toBe(0);
	});
});

it("stays finite where a margin is huge", () => {
	for (const far of [-1e4, 1e4]) {
		const { shares, weights } = lossOf(TOKENS.with(0, far), CASES[1]);
		expect([...shares, ...weights].every(Number.isFinite)).toBe(true);
		expect(shares[0]).toBeCloseTo(expectedFar(far), 0);
	}
	function expectedFar(far: number): number {
		const z = 0.5 * (far - 1.25 + 2.5 + 1);
		const second = 0.5 * (-1 - 2.75);
		const of = (x: number) => 0.8 * Math.max(0, -x) + 0.2 * Math.max(0, x);
		return (of(z) + 0.8 * softplus(-second) + 0.2 * softplus(second)) / 2;
	}
});

it("slopes end at ±beta", () => {
	expect(lossOf(TOKENS.with(0, -1e4), CASES[0]).weights[0]).toBeCloseTo(0.1 / 2, 6);
	expect(sigmoidOf(0)).toBe(0.5);
});

it("log-probabilities of tokens are those of a softmax, in chunks of any size", () => {
	const rows = tensor2d([0.1, -2, 3, 0.5, 0.25, -1, 2, 2, 1, -0.5], [5, 2]);
	const weights = tensor2d([1, -1, 0.5, 2, -0.25, 0.75], [2, 3]);
	const targets = tensor1d([2, 0, 1, 1, 0], "int32");
	const head = (some: Tensor2D) => some.matMul(weights) as Tensor2D;
	const logits = head(rows).arraySync() as number[][];
	const expected = logits.map((row, i) => row[[2, 0, 1, 1, 0][i]] - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)));
	for (const chunkRows of [1, 2, 3, 5, undefined]) {
		const got = tokenLogProbs(head, rows, targets, chunkRows);
		for (const [i, value] of Array.from(got.dataSync()).entries()) expect(value).toBeCloseTo(expected[i], 5);
		got.dispose();
	}
});
