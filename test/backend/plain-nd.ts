/**
 * The independent side of the op contract: n-dimensional arithmetic on plain number arrays (float64), row-major, written
 * for being obviously right. Nothing here imports TensorFlow.js.
 */

/** An array with its shape; `values.length` is the product of `shape`. */
export interface Nd {
	values: readonly number[];
	shape: readonly number[];
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** All indices of a shape in row-major order. */
export function indices(shape: readonly number[]): number[][] {
	return shape.reduce<number[][]>((all, dim) => all.flatMap((index) => Array.from({ length: dim }, (_, i) => [...index, i])), [[]]);
}

/** The value at an index. */
export function at({ values, shape }: Nd, index: readonly number[]): number {
	return values[index.reduce((flat, i, axis) => flat * shape[axis] + i, 0)];
}

/** An array from a function of the index. */
export function build(shape: readonly number[], value: (index: number[]) => number): Nd {
	return { shape, values: indices(shape).map(value) };
}

/** One function applied to every value. */
export function map(x: Nd, value: (x: number) => number): Nd {
	return { shape: x.shape, values: x.values.map(value) };
}

/** Two arrays with NumPy's broadcasting. */
export function zip(a: Nd, b: Nd, value: (a: number, b: number) => number): Nd {
	const rank = Math.max(a.shape.length, b.shape.length);
	const padded = (x: Nd) => ({ ...x, shape: [...Array(rank - x.shape.length).fill(1), ...x.shape] });
	const [pa, pb] = [padded(a), padded(b)];
	const shape = pa.shape.map((dim, axis) => Math.max(dim, pb.shape[axis]));
	const pick = (x: Nd, index: number[]) =>
		at(
			x,
			index.map((i, axis) => (x.shape[axis] === 1 ? 0 : i)),
		);
	return build(shape, (index) => value(pick(pa, index), pick(pb, index)));
}

/** Folds the last axis: one number from each row. */
export function foldRows(x: Nd, fold: (row: number[]) => number): Nd {
	const shape = x.shape.slice(0, -1);
	const width = x.shape[x.shape.length - 1];
	return build(shape, (index) => fold(Array.from({ length: width }, (_, i) => at(x, [...index, i]))));
}

/** Maps each row of the last axis to a row of the same length. */
export function mapRows(x: Nd, value: (row: number[]) => number[]): Nd {
	const width = x.shape[x.shape.length - 1];
	const rows = Array.from({ length: x.values.length / width }, (_, r) => x.values.slice(r * width, (r + 1) * width));
	return { shape: x.shape, values: rows.flatMap((row) => value(row)) };
}

/** [..., M, K] · [..., K, N] by the definition; leading axes are equal. */
export function product(a: Nd, b: Nd, transposeA = false, transposeB = false): Nd {
	const rank = a.shape.length;
	const [m, k] = transposeA ? [a.shape[rank - 1], a.shape[rank - 2]] : [a.shape[rank - 2], a.shape[rank - 1]];
	const n = transposeB ? b.shape[rank - 2] : b.shape[rank - 1];
	return build([...a.shape.slice(0, -2), m, n], (index) => {
		const [row, column] = index.slice(-2);
		const lead = index.slice(0, -2);
		let total = 0;
		for (let i = 0; i < k; i++) {
			total += at(a, [...lead, ...(transposeA ? [i, row] : [row, i])]) * at(b, [...lead, ...(transposeB ? [column, i] : [i, column])]);
		}
		return total;
	});
}

/** Gauss's error function by its Maclaurin series; exact to 1e-12 for |x| < 4. */
export function erfSeries(x: number): number {
	let term = x;
	let total = x;
	for (let n = 1; n < 120; n++) {
		term *= (-x * x) / n;
		total += term / (2 * n + 1);
	}
	return (2 / Math.sqrt(Math.PI)) * total;
}

/**
 * The gradient of Σ cotangent · f(inputs) with respect to one input, by central differences in float64 (error near 1e-9
 * for the smooth functions of the contract).
 */
export function numericGradient(f: (inputs: Nd[]) => Nd, inputs: readonly Nd[], which: number, cotangent: readonly number[]): number[] {
	const step = 1e-5;
	const weighted = (moved: number[]) => {
		const output = f(inputs.map((input, i) => (i === which ? { ...input, values: moved } : input)));
		return output.values.reduce((sum, value, i) => sum + value * cotangent[i], 0);
	};
	return inputs[which].values.map((_, i) => {
		const shifted = (by: number) => inputs[which].values.map((value, j) => (i === j ? value + by : value));
		return (weighted(shifted(step)) - weighted(shifted(-step))) / (2 * step);
	});
}
