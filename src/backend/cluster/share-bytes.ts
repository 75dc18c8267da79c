/** Bytes of any number from every process to every process: text that all of them need, such as an evaluation's judgements. */
import { type Compiled, compile } from "../graph/compile.js";
import { reshape, type Tensor1D, type Tensor2D, tensor1d, tile } from "../tf.js";
import { atRank } from "./at-rank.js";
import type { WorkerGroup } from "./worker-group.js";

/** int32s that travel at a time: one shape, and so one graph and one key. */
const CHUNK = 2 ** 16;
/** Lengths are added up in float32, which is exact below 2²⁴: they go in two halves. */
const HALF = 2 ** 20;

export class ByteSharing {
	private readonly exchange: Compiled<[Tensor1D], Tensor2D>;

	constructor(private readonly group: WorkerGroup) {
		const key = group.takeKeys();
		const toAll = (chunk: Tensor1D) => group.allToAll(tile(reshape(chunk, [1, CHUNK]), [group.size, 1]) as Tensor2D, key);
		this.exchange = compile(toAll, { name: "share_bytes", trace: true });
	}

	/** @returns every process's, by rank. @throws WorkerLostError */
	async share(own: Uint8Array): Promise<Uint8Array[]> {
		const lengths = await this.lengths(own.length);
		const all = lengths.map((length) => new Uint8Array(length));
		for (let from = 0; from < Math.max(...lengths); from += 4 * CHUNK) {
			const chunks = await this.shareChunk(own.subarray(from, from + 4 * CHUNK));
			for (const [rank, bytes] of all.entries()) {
				const left = Math.max(0, bytes.length - from);
				bytes.set(chunks.subarray(4 * CHUNK * rank, 4 * CHUNK * rank + Math.min(left, 4 * CHUNK)), Math.min(from, bytes.length));
			}
		}
		return all;
	}

	private async lengths(own: number): Promise<number[]> {
		const { group } = this;
		const { size } = group;
		const halves = await group.sum([...atRank(group, Math.floor(own / HALF)), ...atRank(group, own % HALF)]);
		return Array.from({ length: size }, (_, i) => halves[i] * HALF + halves[size + i]);
	}

	/** One chunk of each process, one after the other. */
	private async shareChunk(own: Uint8Array): Promise<Uint8Array> {
		const padded = new Int32Array(CHUNK);
		new Uint8Array(padded.buffer).set(own);
		const chunk = tensor1d(padded, "int32");
		const received = await this.group.together(() => this.exchange.runAsync([chunk])).finally(() => chunk.dispose());
		try {
			const { buffer, byteOffset, byteLength } = (await received.data()) as Int32Array;
			return new Uint8Array(buffer, byteOffset, byteLength);
		} finally {
			received.dispose();
		}
	}

	dispose(): void {
		this.exchange.dispose();
	}
}
