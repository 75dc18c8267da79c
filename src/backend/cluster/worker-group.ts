/**
 * The processes of one run, over TensorFlow's own distributed runtime: gRPC between processes, NCCL between GPUs.
 *
 * Joining comes before the first tensor. From then on this process's port is open on all of the machine's addresses, without encryption or a password:
 * TensorFlow lets no address be chosen (its server listens on 0.0.0.0), so the network must be one's own. A collective op has a key; all processes must run
 * ops of the same keys, with tensors of the same shape. An op may be part of a graph.
 */
import { createServer } from "node:net";
import { type Compiled, compile } from "../graph/compile.js";
import { stringAttr } from "../graph/graph-def.js";
import { NATIVE_BACKEND, type NativeBackend, type NativeBinding, type NativeOpAttr } from "../native-binding.js";
import { floatAttr, intAttr, nativeBackend, TF_TYPE, typeAttr } from "../native-types.js";
import { type BackendRequest, selectBackend } from "../select-backend.js";
import { getBackend, scalar, type Tensor, type Tensor1D, type Tensor2D, tensor1d, tidy } from "../tf.js";
import { encodeServerDef } from "./server-def.js";
import { ByteSharing } from "./share-bytes.js";
import { findLost, parseWorker, type WorkerLostError, waitForWorkers, watchWorkers } from "./watch-workers.js";

const GROUP_KEY = 1;

export interface JoinOptions {
	/** `host:port` of every process in the order of their ranks, the same list everywhere. Each must reach every other. */
	workers: readonly string[];
	/** This process's place in it, from 0. */
	rank: number;
	/** Must be, or turn out to be, native. Default `auto`. */
	backend?: BackendRequest;
	/** How long to wait for the others at the start, in seconds. Default 300. */
	joinTimeout?: number;
	/** How long an op waits for others that are there but don't come, in seconds. Default 1800 (transformers' `ddp_timeout`). */
	timeout?: number;
	/** Ends the waiting at the start. */
	signal?: AbortSignal;
}

let joined = false;

/**
 * Makes this process one of several that compute together; once per process, before anything is loaded.
 *
 * @throws for addresses that can't be, a port that is taken, a backend that isn't native, tensors that are there already; WorkerLostError where
 *   others don't come
 */
export async function joinWorkers({
	workers,
	rank,
	backend = "auto",
	joinTimeout = 300,
	timeout = 1800,
	signal,
}: JoinOptions): Promise<WorkerGroup> {
	for (const worker of workers) parseWorker(worker);
	if (!Number.isInteger(rank) || rank < 0 || rank >= workers.length) {
		throw new RangeError(`joinWorkers: rank is ${rank}; expected 0 to ${workers.length - 1}, as there are ${workers.length} workers`);
	}
	if (new Set(workers).size < workers.length)
		throw new Error(`joinWorkers: ${workers.join(", ")}: each worker needs an address of its own`);
	if (joined) throw new Error("joinWorkers: this process has joined workers already; start another process");
	const { reason } = await selectBackend(backend);
	const native = getBackend() === NATIVE_BACKEND ? nativeBackend() : undefined;
	if (!native?.binding.enableCollectives) {
		throw new Error(
			`joinWorkers: several processes need the native backend with this version's addon; got ${reason}. Run \`npx tfjs-rft setup\`, or use one process`,
		);
	}
	await checkFree(workers[rank]);
	native.binding.enableCollectives(encodeServerDef(workers, rank));
	joined = true;
	await waitForWorkers(workers, joinTimeout * 1000, signal);
	return new WorkerGroup(native, workers, rank, timeout);
}

/** The processes of a run, as one of them sees them. */
export class WorkerGroup {
	/** Processes. */
	readonly size: number;
	/** Seconds spent so far in what waits for the others. */
	waited = 0;
	private nextKey = 1;
	/** By the number of values: an op's shape stays the same. */
	private readonly sums = new Map<number, Compiled<[Tensor1D], Tensor1D>>();
	private bytes: ByteSharing | undefined;
	private lost: WorkerLostError | undefined;
	private readonly stopWatching: () => void;

	/** By `joinWorkers`. */
	constructor(
		private readonly native: NativeBackend,
		/** `host:port` by rank. */
		readonly workers: readonly string[],
		/** This process's. */
		readonly rank: number,
		private readonly timeout: number,
	) {
		this.size = workers.length;
		this.stopWatching = watchWorkers(workers, rank, (error) => {
			this.lost = error;
			(native.binding as Required<NativeBinding>).abortCollectives(error.message); // waiting ops end now
		});
	}

	/** Keys of `count` ops to come: the first of them. Every process must ask for the same ones in the same order. */
	takeKeys(count = 1): number {
		this.nextKey += count;
		return this.nextKey - count;
	}

	/**
	 * The sum of every process's tensor; the same bits in all of them.
	 *
	 * @param x float32, of the same shape everywhere
	 * @param key of `takeKeys`; always of the same shape
	 */
	allReduce<T extends Tensor>(x: T, key: number): T {
		const attrs = [stringAttr("merge_op", "Add"), stringAttr("final_op", "Id")];
		return this.execute("CollectiveReduceV2", attrs, x, key) as T;
	}

	/**
	 * Row r of every process's matrix goes to process r.
	 *
	 * @param x [processes, n] float32 or int32, of the same shape everywhere
	 * @param key of `takeKeys`; always of the same shape
	 * @returns [processes, n], row i of which process i had for this one
	 */
	allToAll(x: Tensor2D, key: number): Tensor2D {
		return this.execute("CollectiveAllToAllV2", [], x, key) as Tensor2D;
	}

	/**
	 * The sums of every process's values, in float32.
	 *
	 * @param values as many in each process
	 * @throws WorkerLostError
	 */
	async sum(values: readonly number[]): Promise<number[]> {
		let reduce = this.sums.get(values.length);
		if (!reduce) {
			const key = this.takeKeys();
			reduce = compile((x: Tensor1D) => this.allReduce(x, key), { name: "sum_of_workers", trace: true });
			this.sums.set(values.length, reduce);
		}
		const own = tensor1d([...values], "float32");
		const total = await this.together(() => reduce.runAsync([own])).finally(() => own.dispose());
		try {
			return Array.from(await total.data());
		} finally {
			total.dispose();
		}
	}

	/** Every process's bytes, by rank. @throws WorkerLostError */
	shareBytes(own: Uint8Array): Promise<Uint8Array[]> {
		this.bytes ??= new ByteSharing(this);
		return this.bytes.share(own);
	}

	/** Runs what waits for the others. @throws WorkerLostError in place of TensorFlow's error where one is lost */
	async together<T>(work: () => Promise<T>): Promise<T> {
		if (this.lost) throw this.lost;
		const started = performance.now();
		try {
			return await work();
		} catch (error) {
			this.lost ??= await findLost(this.workers, this.rank, error);
			throw this.lost ?? error;
		} finally {
			this.waited += (performance.now() - started) / 1000;
		}
	}

	/** Waits for all others to be done, too, and stops watching them. After it nothing is computed together any more. */
	async leave(): Promise<void> {
		try {
			await this.sum([0]);
		} catch (error) {
			if (error !== this.lost) throw error; // Whoever is gone by now had come to its end, too.
		} finally {
			this.abandon();
		}
	}

	/** Stops watching, without waiting for anyone: this process has failed, and the others will see it end. */
	abandon(): void {
		this.stopWatching();
		for (const sum of this.sums.values()) sum.dispose();
		this.sums.clear();
		this.bytes?.dispose();
	}

	private execute(op: string, attrs: NativeOpAttr[], x: Tensor, key: number): Tensor {
		const { native, size, timeout } = this;
		return tidy(() => {
			const inputs = [x, ...[size, GROUP_KEY, key].map((n) => scalar(n, "int32"))];
			const common = [
				typeAttr("T", x.dtype === "int32" ? TF_TYPE.int32 : TF_TYPE.float),
				stringAttr("communication_hint", native.isUsingGpuDevice ? "nccl" : "auto"),
				floatAttr("timeout_seconds", timeout),
				intAttr("Nordering_token", 0),
			];
			const [output] = native.binding.executeOp(op, [...common, ...attrs], native.getInputTensorIds(inputs), 1);
			return native.createOutputTensor(output);
		});
	}
}

/** gRPC's own complaint of a taken port goes to stderr and names nothing. */
function checkFree(worker: string): Promise<void> {
	const { port } = parseWorker(worker);
	return new Promise((resolve, reject) => {
		const server = createServer();
		server.on("error", (cause: NodeJS.ErrnoException) =>
			reject(
				new Error(`${worker}: port ${port} can't be listened on (${cause.code}); choose another one, or end what holds it`, { cause }),
			),
		);
		server.listen(port, "0.0.0.0", () => server.close(() => resolve()));
	});
}
