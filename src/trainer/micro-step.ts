/**
 * Forward and backward over one micro-batch, its gradients added to those before: one graph per shape, or eager ops.
 *
 * The graph is traced, never run eagerly first: the same numbers from the first call on, so that a resumed run equals one that never stopped,
 * and no pass that keeps every intermediate to its end. What comes in are the batch and the sums so far, what goes out are the new sums.
 */
import { type Compiled, compile } from "../backend/graph/compile.js";
import {
	add,
	customGrad,
	type GradSaveFunc,
	keep,
	reshape,
	type Scalar,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor1d,
	tidy,
	variableGrads,
} from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { selectRows } from "../nn/select-rows.js";
import type { GradientScatter } from "./gradient-exchange.js";
import type { LabelledBatch } from "./labelled-batch.js";
import { type HeadGradients, headGradients } from "./loss.js";
import { type FlatGradients, flattenBucket, type ParameterBucket } from "./parameter-buckets.js";

/** Shapes kept; one costs no more than its nodes. */
const MAX_SIGNATURES = 64;

export interface MicroStepOptions {
	/** The layout of the gradients. */
	buckets: readonly ParameterBucket[];
	/** See ForwardOptions. Default false. */
	gradientCheckpointing?: boolean;
	/** Of labels; see sumCrossEntropy. Default 0. */
	labelSmoothing?: number;
	/** Run op by op, without graphs. Default false. */
	eager?: boolean;
	/** Sums gradients over all processes within the graph: `sums` are shards then. Default: they are this process's own. */
	scatter?: GradientScatter;
}

/** The batch's share of the loss, and per bucket the sum of `sums` and its gradient; `undefined` where it has no gradient. */
export type LossAndGradients = {
	loss: Scalar;
	gradients: FlatGradients;
	/** With `scatter`, where every bucket has a sum: [buckets] 1 where this micro-batch has a gradient, else 0. */
	reached?: Tensor1D;
};

type Step = (batch: LabelledBatch, sums: FlatGradients) => LossAndGradients;

/** The micro-steps of one run. */
export class MicroStep {
	private readonly step: Step;
	private readonly compiled?: Compiled<Parameters<Step>, LossAndGradients>;

	constructor(
		model: TrainableModel,
		private readonly options: MicroStepOptions,
	) {
		this.step = (batch, sums) => lossAndGradients(model, batch, sums, options);
		if (!options.eager) this.compiled = compile(this.step, { name: "micro_step", trace: true, maxSignatures: MAX_SIGNATURES });
	}

	/** Graphs made so far. */
	get signatures(): number {
		return this.compiled?.recordings ?? 0;
	}

	/** @param sums gradients so far; `undefined` starts at nothing. The results and the arguments are the caller's. */
	async run(batch: LabelledBatch, sums: FlatGradients): Promise<LossAndGradients> {
		const { compiled } = this;
		if (!compiled) return tidy(() => this.step(batch, sums));
		const run = () => compiled.runAsync([batch, sums]);
		return this.options.scatter?.together(run) ?? run();
	}

	dispose(): void {
		this.compiled?.dispose();
	}
}

/** See MicroStep; to be called in a tidy. */
function lossAndGradients(
	model: TrainableModel,
	{ prepared, labelled, targets, weights }: LabelledBatch,
	sums: FlatGradients,
	{ buckets, gradientCheckpointing, labelSmoothing: smoothing, scatter }: MicroStepOptions,
): LossAndGradients {
	const variables = buckets.flatMap((bucket) => bucket.variables);
	let head: HeadGradients["variables"] = [];
	const loss = () => {
		const hidden = model.hiddenStates(prepared, { gradientCheckpointing }); // [B, T, C]
		const rows = selectRows(reshape(hidden, [-1, hidden.shape[2]]) as Tensor2D, labelled);
		const op = customGrad((...args) => {
			const [rows, save] = args as unknown as [Tensor2D, GradSaveFunc];
			const taken = headGradients((some) => model.lmHead(some), rows, targets, weights, variables, { smoothing });
			head = taken.variables.map((gradient) => gradient && keep(gradient));
			save([taken.rows]);
			// It ends the tape: nothing comes from above but 1.
			return { value: taken.loss, gradFunc: (_: Tensor, [ofRows]: Tensor[]) => ofRows.clone() };
		});
		return op(rows) as Scalar;
	};
	try {
		const { value, grads } = variableGrads(loss, variables);
		const own = variables.map((variable, i): Tensor | undefined => {
			const [below, above] = [grads[variable.name] as Tensor | undefined, head[i]];
			return below && above ? add(below, above) : (below ?? above?.clone());
		});
		const reached: boolean[] = [];
		const gradients = buckets.map((bucket, i) => {
			const mine = own.splice(0, bucket.variables.length);
			reached.push(mine.some((gradient) => gradient));
			if (!reached[i] && !scatter) return undefined;
			const flat = flattenBucket(bucket, mine);
			const gradient = scatter ? scatter.reduce(flat, i) : flat;
			return sums[i] ? (add(sums[i], gradient) as Tensor1D) : gradient;
		});
		return { loss: value, gradients, ...(scatter && { reached: tensor1d(reached.map(Number)) }) };
	} finally {
		for (const gradient of head) gradient?.dispose();
	}
}
