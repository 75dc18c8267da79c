/**
 * Writes a safetensors file as a stream: the header needs shapes only, each tensor's bytes are asked for when their turn comes.
 * Tensors go by falling element size, then name, so that each begins at a multiple of its element size (as the reference writer does).
 */
import type { FileHandle } from "node:fs/promises";
import { DTYPE_BYTES, type SafetensorsDtype } from "./dtype.js";
import { writeWhole } from "./write-whole.js";

/** A tensor to be written; `data` is called once, when its bytes are needed. */
export interface TensorSource {
	name: string;
	dtype: SafetensorsDtype;
	shape: readonly number[];
	/** Little-endian bytes, shape × element size of them. */
	data: () => Uint8Array | Promise<Uint8Array>;
}

/** What `for await` takes. */
export type Entries<T> = Iterable<T> | AsyncIterable<T>;

/** The bytes of a tensor, from its shape. */
export function byteLength({ dtype, shape }: Pick<TensorSource, "dtype" | "shape">): number {
	return shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
}

/**
 * @param entries the names must differ; the file keeps its own order
 * @param metadata the file's `__metadata__`; default `{ format: "pt" }`, which transformers asks for
 * @throws Error if a name occurs twice or `data` yields another number of bytes than the shape says; the file is then not there.
 */
export async function writeSafetensors(
	file: string,
	entries: Entries<TensorSource>,
	metadata: Record<string, string> = { format: "pt" },
): Promise<void> {
	const sources: TensorSource[] = [];
	for await (const source of entries) sources.push(source);
	sources.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1));
	const header = headerBytes(file, sources, metadata);
	await writeWhole(file, async (handle) => {
		await writeFully(handle, header);
		for (const source of sources) {
			const bytes = await source.data();
			const expected = byteLength(source);
			if (bytes.byteLength !== expected) {
				throw new Error(
					`${file}: ${source.name} gave ${bytes.byteLength} bytes, its shape [${source.shape}] of ${source.dtype} is ${expected}`,
				);
			}
			await writeFully(handle, bytes);
		}
	});
}

/**
 * Where the first tensor begins is a multiple of this many bytes: then most begin so, as TensorFlow has its tensors, and can be used where they lie
 * (native/read_tensor.h). The reference writer's multiple is 8.
 */
const ALIGNMENT = 64;

/** The length prefix and the JSON, padded with spaces. */
function headerBytes(file: string, sources: TensorSource[], metadata: Record<string, string>): Uint8Array {
	const header = new Map<string, unknown>([["__metadata__", metadata]]);
	let at = 0;
	for (const source of sources) {
		const { name, dtype, shape } = source;
		if (header.has(name) || name === "__proto__")
			throw new Error(`${file}: tensor name ${JSON.stringify(name)} occurs twice or is reserved`);
		const end = at + byteLength(source);
		header.set(name, { dtype, shape, data_offsets: [at, end] });
		at = end;
	}
	const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
	const padded = Buffer.alloc(Math.ceil((8 + json.byteLength) / ALIGNMENT) * ALIGNMENT, " ");
	padded.writeBigUInt64LE(BigInt(padded.byteLength - 8));
	json.copy(padded, 8);
	return padded;
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
	let done = 0;
	while (done < bytes.byteLength) {
		const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.byteLength - done, 2 ** 30));
		done += bytesWritten;
	}
}
