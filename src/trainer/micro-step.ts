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
	slice,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor1d,
	tidy,
	variableGrads,
} from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import type { GradientScatter } from "./gradient-exchange.js";
import { type LabelledTokens, labelledStates } from "./labelled-batch.js";
import type { Objective, ObjectiveGradients } from "./objective.js";
import { type FlatGradients, flattenBucket, type ParameterBucket } from "./parameter-buckets.js";
import { Supervised } from "./supervised.js";

/** Shapes kept; one costs no more than its nodes. */
export const MAX_SIGNATURES = 64;

export interface MicroStepOptions {
	/** What is learned. Default: supervised fine-tuning. */
	objective?: Objective;
	/** The layout of the gradients. */
	buckets: readonly ParameterBucket[];
	/** See ForwardOptions. Default false. */
	gradientCheckpointing?: boolean;
	/** Run op by op, without graphs. Default false. */
	eager?: boolean;
	/** Sums gradients over all processes within the graph: `sums` are shards then. Default: they are this process's own. */
	scatter?: GradientScatter;
}

/** The batch's shares (ObjectiveGradients), and per bucket the sum of `sums` and its gradient; `undefined` where it has no gradient. */
export type SharesAndGradients = {
	shares: Tensor1D;
	gradients: FlatGradients;
	/** With `scatter`, where every bucket has a sum: [buckets] 1 where this micro-batch has a gradient, else 0. */
	reached?: Tensor1D;
};

type Step = (batch: LabelledTokens, sums: FlatGradients) => SharesAndGradients;

/** The micro-steps of one run. */
export class MicroStep {
	/** What is learned. */
	readonly objective: Objective;
	private readonly step: Step;
	private readonly scatter?: GradientScatter;
	private readonly compiled?: Compiled<Parameters<Step>, SharesAndGradients>;

	constructor(model: TrainableModel, { objective = new Supervised(), ...options }: MicroStepOptions) {
		this.objective = objective;
		this.scatter = options.scatter;
		this.step = (batch, sums) => sharesAndGradients(model, batch, sums, { objective, ...options });
		if (!options.eager) this.compiled = compile(this.step, { name: "micro_step", trace: true, maxSignatures: MAX_SIGNATURES });
	}

	/** Graphs made so far. */
	get signatures(): number {
		return this.compiled?.recordings ?? 0;
	}

	/** @param sums gradients so far; `undefined` starts at nothing. The results and the arguments are the caller's. */
	async run(batch: LabelledTokens, sums: FlatGradients): Promise<SharesAndGradients> {
		const { compiled } = this;
		if (!compiled) return tidy(() => this.step(batch, sums));
		const run = () => compiled.runAsync([batch, sums]);
		return this.scatter?.together(run) ?? run();
	}

	dispose(): void {
		this.compiled?.dispose();
	}
}

/** See MicroStep; to be called in a tidy. */
function sharesAndGradients(
	model: TrainableModel,
	batch: LabelledTokens,
	sums: FlatGradients,
	{ objective, buckets, gradientCheckpointing, scatter }: MicroStepOptions & { objective: Objective },
): SharesAndGradients {
	const variables = buckets.flatMap((bucket) => bucket.variables);
	const ofHead: { shares?: Tensor1D; variables: ObjectiveGradients["variables"] } = { variables: [] };
	const loss = () => {
		const rows = labelledStates(model, batch, { gradientCheckpointing });
		const op = customGrad((...args) => {
			const [rows, save] = args as unknown as [Tensor2D, GradSaveFunc];
			const taken = objective.head(model, rows, batch, variables);
			ofHead.variables = taken.variables.map((gradient) => gradient && keep(gradient));
			ofHead.shares = keep(taken.shares);
			save([taken.rows]);
			// It ends the tape: nothing comes from above but 1.
			return { value: reshape(slice(taken.shares, 0, 1), []), gradFunc: (_: Tensor, [ofRows]: Tensor[]) => ofRows.clone() };
		});
		return op(rows) as Scalar;
	};
	try {
		const { grads } = variableGrads(loss, variables);
		const own = variables.map((variable, i): Tensor | undefined => {
			const [below, above] = [grads[variable.name] as Tensor | undefined, ofHead.variables[i]];
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
		return { shares: (ofHead.shares as Tensor1D).clone(), gradients, ...(scatter && { reached: tensor1d(reached.map(Number)) }) };
	} finally {
		for (const kept of [ofHead.shares, ...ofHead.variables]) kept?.dispose();
	}
}
