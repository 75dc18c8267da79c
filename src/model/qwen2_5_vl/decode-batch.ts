/**
 * The rows in flight. Each has a slot of the batch; all write their newest token into the same column of the cache, whenever they
 * began: a row that is admitted later gets its prompt's keys and values in the columns just before that one.
 *
 *     column    0 1 2 3 4 5 6 7 8 | 9            a: a prompt of 4 and 5 new tokens
 *     slot 0    a a a a a a a a a | ←            b: admitted at column 8, a prompt of 2 and its first new token
 *     slot 1    . . . . . . b b b | ←            .: not looked at
 *
 * When the columns run out, or the rows do not fit, the contents move to a cache of another size. Sizes come in few steps, as each is a graph of the decode
 * step. Rotary embeddings are applied before keys are written, so that a column is no position.
 */
import { dispose, gather, type Tensor1D, type Tensor2D, type Tensor4D, tensor1d, tensor4d, tidy } from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import { KvCache } from "../../nn/kv-cache.js";
import { roundUp, sizeStep } from "../../nn/size-step.js";
import { lookAheadInputs } from "./look-ahead-inputs.js";
import type { Passes } from "./passes.js";
import type { ReadPrompts } from "./prompt-reader.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import type { TokenTree } from "./token-tree.js";

/** Columns kept free for the tokens to come whenever the cache is made anew. */
const HEADROOM = 64;

/** What the batch must know of a row. */
export interface BatchRow {
	/** Its newest token, read at the next step. */
	newest: number;
	/** Position of that token. */
	nextPosition: number;
}

/** A row in its slot. */
interface Slot<R> {
	row: R;
	/** Its first column. */
	start: number;
}

/** A row, and what is asked of it. */
export interface LookAhead<R> {
	row: R;
	/** The tree's root is so many tokens before the row's newest. */
	back: number;
	tree: TokenTree;
}

export class DecodeBatch<R extends BatchRow> {
	private slots: (Slot<R> | undefined)[] = [];
	private cache?: KvCache;
	/** Where the next token is written. */
	private column = 0;

	constructor(
		private readonly model: Qwen2_5VLModel,
		private readonly passes: Passes,
		/** Most rows at once. */
		private readonly batchSize: number,
	) {}

	/** The running rows, by slot; undefined where a slot is free. */
	get rows(): (R | undefined)[] {
		return this.slots.map((slot) => slot?.row);
	}

	get running(): number {
		return this.slots.filter((slot) => slot).length;
	}

	get free(): number {
		return this.batchSize - this.running;
	}

	/**
	 * Takes in rows behind prompts that were read; there must be room for them (`free`).
	 * @param promptOfRow the prompt that each row continues
	 */
	admit(rows: readonly R[], prompts: ReadPrompts, promptOfRow: readonly number[]): void {
		this.makeRoom(this.running + rows.length, prompts.columns);
		const places = this.freeSlots(rows.length);
		rows.forEach((row, i) => {
			this.slots[places[i]] = { row, start: this.column - prompts.lengths[promptOfRow[i]] };
		});
		for (const [first, end] of runs(places)) {
			tidy(() => {
				const index = tensor1d(promptOfRow.slice(first, end), "int32");
				const rowsOf = (layers: readonly Tensor4D[]) => layers.map((layer) => gather(layer, index));
				this.cache?.write(places[first], this.column - prompts.columns, rowsOf(prompts.keys), rowsOf(prompts.values));
			});
		}
	}

	/** Lets rows go; `keepSlots` while others may take their place. */
	release(done: (row: R) => boolean, keepSlots: boolean): void {
		this.slots = this.slots.map((slot) => (slot && done(slot.row) ? undefined : slot));
		if (!keepSlots && this.running > 0 && slotsFor(this.running, this.batchSize) < this.slots.length)
			this.rebuild(this.running, this.column - this.start);
	}

	/**
	 * One more token of each row, by slot; the results are the caller's.
	 * @param waiting rows wait for a slot: free ones are kept when the cache is made anew
	 */
	async step(waiting: boolean): Promise<{ logits: Tensor2D; best: Tensor1D }> {
		if (!this.cache || this.column === this.cache.size.columns) {
			this.rebuild(waiting ? this.slots.length : this.running, this.column - this.start);
		}
		const { keys, values, size } = this.cache as KvCache;
		const { rows, columns } = size;
		const inputs = {
			ids: tensor1d(
				Int32Array.from(this.slots, (slot) => slot?.row.newest ?? 0),
				"int32",
			),
			rotary: this.model.rotaryOf(Int32Array.from(this.slots, (slot) => slot?.row.nextPosition ?? 0)),
			mask: tensor4d(this.mask(columns), [rows, 1, 1, columns]),
			begin: tensor1d([0, 0, this.column, 0], "int32"),
			end: tensor1d([0, 0, this.column + 1, 0], "int32"),
		};
		try {
			const result = await this.passes.decode({ ...inputs, keys, values });
			this.column++;
			for (const slot of this.slots) if (slot) slot.row.nextPosition++;
			return result;
		} finally {
			dispose(inputs);
		}
	}

	/**
	 * What rows might say after a token of theirs, without saying it: the cache stays as it is. Rows are padded to a power of two, and trees to a common size: few graphs.
	 * @returns log-probabilities of each tree's edges
	 */
	async lookAhead(asked: readonly LookAhead<R>[]): Promise<Float32Array[]> {
		const { keys, values, size } = this.cache as KvCache;
		const rows = asked.map(({ row, back, tree }) => {
			const slot = this.slots.findIndex((one) => one?.row === row);
			const { start } = this.slots[slot] as Slot<R>;
			return { slot, tree, start, end: this.column - back, position: row.nextPosition - back };
		});
		const inputs = lookAheadInputs(rows, size.columns, this.model);
		try {
			const logProbs = await this.passes.lookAhead({ ...inputs.tensors, keys, values });
			const all = (await logProbs.data()) as Float32Array;
			logProbs.dispose();
			return asked.map(({ tree }, i) => all.subarray(i * inputs.edges, i * inputs.edges + tree.edges.length));
		} finally {
			dispose(inputs.tensors);
		}
	}

	dispose(): void {
		this.cache?.dispose();
		this.cache = undefined;
	}

	/** First column that a row looks at. */
	private get start(): number {
		return Math.min(this.column, ...this.slots.flatMap((slot) => slot?.start ?? []));
	}

	/** [rows · columns] 0 from a row's first column to the one that is written now. */
	private mask(columns: number): Float32Array {
		const mask = new Float32Array(this.slots.length * columns).fill(MASKED);
		this.slots.forEach((slot, i) => {
			if (slot) mask.fill(0, i * columns + slot.start, i * columns + this.column + 1);
		});
		return mask;
	}

	/** Room for `rows` rows, and for a prompt of `columns` columns before the next column. A cache that nobody uses is made anew, to fit. */
	private makeRoom(rows: number, columns: number): void {
		const fits = this.running > 0 && rows <= this.slots.length && columns <= this.column;
		if (!fits) this.rebuild(rows, Math.max(columns, this.column - this.start));
	}

	/** Moves to a cache of the right size for `rows` rows, whose next column is `column`. */
	private rebuild(rows: number, column: number): void {
		const kept = this.slots.flatMap((slot, i) => (slot ? [i] : []));
		const slots = slotsFor(rows, this.batchSize);
		const size = { layers: this.model.config.text.numHiddenLayers, kvHeads: this.model.config.text.numKeyValueHeads };
		const columns = columnsFor(column + HEADROOM);
		const from = this.start;
		const count = this.column - from;
		const order = Int32Array.from({ length: slots }, (_, i) => kept[i] ?? 0); // a free slot holds anything
		if (this.cache && count > 0) this.cache = this.cache.moved({ rows: order, from, count, to: column - count, columns });
		else {
			this.cache?.dispose();
			this.cache = KvCache.empty({ ...size, rows: slots, columns, headDim: this.model.config.text.headDim });
		}
		const shift = column - this.column;
		this.slots = Array.from({ length: slots }, (_, i) => {
			const slot = this.slots[kept[i]];
			return slot && { row: slot.row, start: slot.start + shift };
		});
		this.column = column;
	}

	private freeSlots(count: number): number[] {
		return this.slots.flatMap((slot, i) => (slot ? [] : [i])).slice(0, count);
	}
}

/** Rows of a batch: a power of two, or all. */
function slotsFor(rows: number, batchSize: number): number {
	return Math.min(batchSize, 2 ** Math.ceil(Math.log2(rows)));
}

/** Columns of a cache: a multiple of 64, from 512 on of a quarter of the power of two below. */
function columnsFor(columns: number): number {
	return roundUp(columns, sizeStep(columns, 4, 64));
}

/** [first, end) indices of stretches of `places` that count up by one. */
function runs(places: readonly number[]): [number, number][] {
	const found: [number, number][] = [];
	places.forEach((place, i) => {
		const last = found.at(-1);
		if (last && places[i - 1] === place - 1) last[1] = i + 1;
		else found.push([i, i + 1]);
	});
	return found;
}
