/**
 * Parameters laid end to end in a few flat vectors, so that clipping and AdamW cost a dozen ops per bucket instead of a dozen per
 * parameter: an eager op costs ~35 µs whatever its size, and a small model has a hundred small parameters.
 *
 * Parameters share a bucket when they agree on weight decay and on the first part of their key (`visual`, `model`): a step without
 * images reaches no parameter of the vision tower, and a bucket that no gradient reached is left alone as a whole, as torch
 * leaves alone a parameter whose `grad` is None. A parameter larger than `maxElements` stands alone, so large models pay no copies twice.
 */
import { concat, reshape, split, type Tensor, type Tensor1D, tidy, type Variable, zeros } from "../backend/tf.js";

/** Names, variables and sizes run in parallel. */
export interface ParameterBucket {
	/** Whether weight decay applies. */
	readonly decays: boolean;
	readonly names: string[];
	readonly variables: Variable[];
	/** Elements of each parameter. */
	readonly sizes: number[];
	/** Elements of the whole bucket. */
	size: number;
}

/** One vector per bucket; `undefined` where no parameter of the bucket was reached. */
export type FlatGradients = (Tensor1D | undefined)[];

export interface BucketOptions {
	/** Decay norms and biases (parameters of one dimension) too. Default false. */
	decayAll?: boolean;
	/** Most elements of a bucket of several parameters. Default 2²² (16 MB). */
	maxElements?: number;
}

/** Groups parameters; the order inside and among buckets follows the map's. */
export function bucketParameters(
	parameters: ReadonlyMap<string, Variable>,
	{ decayAll = false, maxElements = 1 << 22 }: BucketOptions = {},
): ParameterBucket[] {
	const buckets: ParameterBucket[] = [];
	const open = new Map<string, ParameterBucket>();
	for (const [name, variable] of parameters) {
		const decays = decayAll || variable.shape.length > 1;
		const group = `${name.split(".")[0]} ${decays}`;
		let bucket = open.get(group);
		if (!bucket || bucket.size + variable.size > maxElements) {
			bucket = { decays, names: [], variables: [], sizes: [], size: 0 };
			buckets.push(bucket);
			open.set(group, bucket);
		}
		bucket.names.push(name);
		bucket.variables.push(variable);
		bucket.sizes.push(variable.size);
		bucket.size += variable.size;
	}
	return buckets;
}

/**
 * @param tensors one per parameter of the bucket, in its order; a missing one counts as zeros
 * @returns [bucket.size]; the caller's to dispose
 */
export function flattenBucket(bucket: ParameterBucket, tensors: readonly (Tensor | undefined)[]): Tensor1D {
	return tidy(() => {
		const flat = bucket.sizes.map((size, i) => {
			const tensor = tensors[i];
			return tensor ? (reshape(tensor, [size]) as Tensor1D) : (zeros([size]) as Tensor1D);
		});
		return flat.length === 1 ? flat[0].clone() : concat(flat);
	});
}

/**
 * The inverse of `flattenBucket`, of a bucket whose parameters are `like`.
 *
 * @param flat [bucket.size]
 * @returns one tensor per parameter, in the parameter's shape; the caller's to dispose
 */
export function splitLike(flat: Tensor1D, like: readonly Tensor[]): Tensor[] {
	return tidy(() => {
		const sizes = like.map(({ size }) => size);
		const parts = sizes.length === 1 ? [flat] : split(flat, sizes);
		return parts.map((part, i) => reshape(part, like[i].shape));
	});
}

/** Assigns new values to a bucket's parameters; a variable takes a reference to the value's data, so the values themselves are disposed. */
export function replaceParameters({ variables }: ParameterBucket, values: readonly Tensor[]): void {
	variables.forEach((variable, i) => {
		variable.assign(values[i]);
		values[i].dispose();
	});
}
