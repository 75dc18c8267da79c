/**
 * Keys and values of every layer, written in place: [R, K, S, D] each, R rows of a batch, S columns that fill up from the left.
 *
 * A token of every row is written in one column at a time; where a row's own tokens begin is the mask's business. A cache has a fixed
 * size: for more rows or columns, or to get rid of some, its contents move to a new one.
 *
 * Legend: L layers, K key heads, D head dim.
 */
import { ResourceVariable } from "../backend/graph/resource-variable.js";
import { gather, pad, slice, type Tensor4D, tensor1d, tidy } from "../backend/tf.js";

export interface KvCacheSize {
	layers: number;
	rows: number;
	kvHeads: number;
	columns: number;
	headDim: number;
}

/** What moves to another cache, and where to. */
export interface KvCacheMove {
	/** The new cache's rows, by their number in this one. */
	rows: Int32Array;
	/** First of the columns that move. */
	from: number;
	/** How many of them. */
	count: number;
	/** Where they begin in the new cache. */
	to: number;
	/** The new cache's columns. */
	columns: number;
}

export class KvCache {
	/** @param keys one per layer, [R, K, S, D] */
	private constructor(
		readonly size: KvCacheSize,
		readonly keys: readonly ResourceVariable[],
		readonly values: readonly ResourceVariable[],
	) {}

	static empty(size: KvCacheSize): KvCache {
		const { layers, rows, kvHeads, columns, headDim } = size;
		const variables = () => Array.from({ length: layers }, () => new ResourceVariable([rows, kvHeads, columns, headDim]));
		return new KvCache(size, variables(), variables());
	}

	/**
	 * Writes whole columns of some rows.
	 * @param row first of the rows
	 * @param column first of the columns
	 * @param keys per layer [r, K, c, D]
	 */
	write(row: number, column: number, keys: readonly Tensor4D[], values: readonly Tensor4D[]): void {
		const [rows, , columns] = keys[0].shape;
		tidy(() => {
			const begin = tensor1d([row, 0, column, 0], "int32");
			const end = tensor1d([row + rows, 0, column + columns, 0], "int32");
			for (let layer = 0; layer < this.size.layers; layer++) {
				this.keys[layer].assignSlice(begin, end, keys[layer], [0, 2]);
				this.values[layer].assignSlice(begin, end, values[layer], [0, 2]);
			}
		});
	}

	/** Moves to a new cache and disposes this one, a layer at a time. */
	moved({ rows, from, count, to, columns }: KvCacheMove): KvCache {
		const sameRows = rows.length === this.size.rows && rows.every((row, i) => row === i);
		const index = tensor1d(rows, "int32");
		const move = (old: ResourceVariable) => {
			const moved = tidy(() => {
				const all = old.read() as Tensor4D;
				const kept = count === this.size.columns ? all : slice(all, [0, 0, from, 0], [-1, -1, count, -1]);
				const ordered = sameRows ? kept : gather(kept, index);
				return pad(ordered, [
					[0, 0],
					[0, 0],
					[to, columns - to - count],
					[0, 0],
				]);
			});
			old.dispose();
			return new ResourceVariable(moved, "float32", { takeOver: true });
		};
		const next = new KvCache({ ...this.size, rows: rows.length, columns }, this.keys.map(move), this.values.map(move));
		index.dispose();
		return next;
	}

	dispose(): void {
		for (const variable of [...this.keys, ...this.values]) variable.dispose();
	}
}
