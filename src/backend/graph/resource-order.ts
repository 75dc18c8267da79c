/**
 * The order of ops on resources in a graph. A graph runs in any order that its edges allow, and two ops on one variable have none between them;
 * so each is told to wait, as tf.function's automatic control dependencies do (tensorflow/python/framework/auto_control_deps.py):
 * a read waits for the last write, a write for all reads since and for the last write.
 */

/** Ops that leave their resource as it is. Any other op counts as a write. */
const READS = /^(ReadVariableOp|ResourceGather|ResourceGatherNd|VariableShape|VarIsInitializedOp)$/;

export class ResourceOrder {
	private readonly written = new Map<number, string>();
	private readonly readSince = new Map<number, string[]>();

	/**
	 * Puts a node behind those before it.
	 *
	 * @param resources device handles among its inputs
	 * @returns the control inputs that it needs, `^node` each
	 */
	add(op: string, node: string, resources: readonly number[]): string[] {
		const waitsFor = new Set<string>();
		for (const resource of resources) {
			const write = this.written.get(resource);
			const reads = this.readSince.get(resource) ?? [];
			if (write) waitsFor.add(`^${write}`);
			if (READS.test(op)) this.readSince.set(resource, [...reads, node]);
			else {
				for (const read of reads) waitsFor.add(`^${read}`);
				this.written.set(resource, node);
				this.readSince.delete(resource);
			}
		}
		return [...waitsFor];
	}

	/** The last write of each resource, `^node` each: when they are done, all are. */
	get lastWrites(): string[] {
		return [...new Set(this.written.values())].map((node) => `^${node}`);
	}
}
