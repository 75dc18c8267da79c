/**
 * Parameters by checkpoint key, seen through a prefix: a layer asks for `weight`, the scope knows it is
 * `model.layers.3.self_attn.q_proj.weight`. Layers therefore mirror the checkpoint's key paths.
 */
import type { Variable } from "../backend/tf.js";
import type { LowRank } from "./low-rank.js";
import { WeightMatrix } from "./weight-matrix.js";

/** Where the scale of an int8 matrix is, by the matrix's key. */
export const scaleKey = (key: string) => `${key}_scale`;

export interface ParameterScopeOptions {
	/** Matrices compute in bfloat16. Default false. */
	bfloat16?: boolean;
	/** What is added to matrices, by their keys. Default: nothing. */
	adapters?: ReadonlyMap<string, LowRank>;
}

export class ParameterScope {
	constructor(
		private readonly parameters: ReadonlyMap<string, Variable>,
		private readonly options: ParameterScopeOptions = {},
		private readonly prefix = "",
	) {}

	/** Whether matrices compute in bfloat16. */
	get bfloat16(): boolean {
		return this.options.bfloat16 ?? false;
	}

	/** The same parameters below `name`. */
	scope(name: string): ParameterScope {
		return new ParameterScope(this.parameters, this.options, `${this.prefix}${name}.`);
	}

	/** Every parameter below the prefix. */
	all(): Variable[] {
		return [...this.parameters].filter(([key]) => key.startsWith(this.prefix)).map(([, parameter]) => parameter);
	}

	/** A matrix, in the type that the model computes in, or in int8 where there is a scale beside it; with its adapter. @throws as `get` */
	matrix(name: string): WeightMatrix {
		const key = this.prefix + name;
		return new WeightMatrix(this.get(name), this.bfloat16, this.parameters.get(scaleKey(key)), this.options.adapters?.get(key));
	}

	/** A parameter that is used as it is: a norm, a bias. @throws if the key is not there: the weight table and the layers disagree. */
	get<V extends Variable>(name: string): V {
		const key = this.prefix + name;
		const parameter = this.parameters.get(key);
		if (!parameter) throw new Error(`parameter ${key} is missing; the model's weight table does not list it`);
		return parameter as V;
	}
}
