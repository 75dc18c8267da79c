/**
 * Whole vectors of a state that lies in shards, for the one process that writes a checkpoint: it asks for one at a time, in any order, and the others serve
 * it until it says that it is done. So no process ever holds more than a few.
 */
import type { WorkerGroup } from "../../backend/cluster/worker-group.js";
import { type Compiled, compile } from "../../backend/graph/compile.js";
import type { Tensor1D } from "../../backend/tf.js";
import { allGather } from "./shards.js";

/** What the writer says: what it has come to, or `FIRST + part`. */
const [DONE, FAILED, FIRST] = [1, 2, 3];
/** Kept for the next reads: a file goes by names, which takes parts in turns. */
const RECENT = 4;
/** Elements of a part that is kept: a larger one is a single parameter's, and read once. */
const LARGEST_KEPT = 2 ** 22;

export class GatheredState {
	private readonly gather: Compiled<[Tensor1D, number], Tensor1D>;
	private readonly recent = new Map<number, Float32Array>();

	/**
	 * @param sizes elements of each part, the same in every process
	 * @param shardOf this process's shard of a part, as it is now
	 */
	constructor(
		private readonly group: WorkerGroup,
		sizes: readonly number[],
		private readonly shardOf: (part: number) => Tensor1D,
	) {
		const firstKey = group.takeKeys(sizes.length);
		this.gather = compile((shard: Tensor1D, part: number) => allGather(shard, sizes[part], group, firstKey + part), {
			name: "gather_state",
			trace: true,
			maxSignatures: Math.max(1, sizes.length), // each part is one
		});
	}

	/** A part's values, to the writer. Others must be in `serve`. @returns shared: not to be changed */
	async read(part: number): Promise<Float32Array> {
		const kept = this.recent.get(part);
		if (kept) return kept;
		await this.group.sum([FIRST + part]);
		const flat = await this.gatherPart(part);
		try {
			const values = (await flat.data()) as Float32Array;
			if (values.length <= LARGEST_KEPT) this.recent.set(part, values);
			for (const oldest of this.recent.keys()) if (this.recent.size > RECENT) this.recent.delete(oldest);
			return values;
		} finally {
			flat.dispose();
		}
	}

	/**
	 * Runs the writer's `write`, which reads; or, in the other processes, serves it.
	 *
	 * @param writes whether this is the process that writes
	 * @returns whether it was this one
	 * @throws what `write` throws; in the others, that it did
	 */
	async write(writes: boolean, write: () => Promise<void>): Promise<boolean> {
		if (!writes) {
			await this.serve();
			return false;
		}
		let result = FAILED;
		try {
			await write();
			result = DONE;
		} finally {
			this.recent.clear();
			await this.group.sum([result]);
		}
		return true;
	}

	private async serve(): Promise<void> {
		for (;;) {
			const [asked] = await this.group.sum([0]);
			if (asked === DONE) return;
			if (asked === FAILED) throw new Error("worker 0 could not save the checkpoint; its own output says why");
			(await this.gatherPart(asked - FIRST)).dispose();
		}
	}

	private gatherPart(part: number): Promise<Tensor1D> {
		return this.group.together(() => this.gather.runAsync([this.shardOf(part), part]));
	}

	dispose(): void {
		this.gather.dispose();
	}
}
