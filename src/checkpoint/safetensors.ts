/**
 * One safetensors file, tensors read by offset: memory holds one tensor at a time, never the file.
 * The header is checked by safetensors-header.ts before anything is read by it.
 */
import { type FileHandle, open } from "node:fs/promises";
import { MAX_HEADER_BYTES, parseHeader, type SafetensorsHeader, type TensorEntry } from "./safetensors-header.js";

/** Node refuses a single read of 2 GiB or more. */
const MAX_READ_BYTES = 2 ** 30;

/** An open file; close it. */
export interface SafetensorsFile {
	readonly file: string;
	/** The file's `__metadata__`, e.g. `{ format: "pt" }`. */
	readonly metadata: Readonly<Record<string, string>>;
	/** By name, in file order. */
	readonly header: ReadonlyMap<string, TensorEntry>;
	/**
	 * Reads one tensor's bytes and nothing else.
	 * @param into receives the bytes at its front and must hold at least the tensor's length; without it a new array of that length.
	 * @returns exactly the tensor's bytes: `into`, or a view of its front.
	 * @throws Error for an unknown name, a destination too small, or a file that got shorter since it was opened.
	 */
	read(name: string, into?: Uint8Array): Promise<Uint8Array>;
	close(): Promise<void>;
}

/**
 * Opens a file and checks its header.
 * @throws Error that names the file, what was expected and what was there.
 */
export async function openSafetensors(file: string): Promise<SafetensorsFile> {
	const handle = await open(file, "r");
	try {
		const { entries, metadata } = await readHeader(handle, file);
		const header = new Map(entries.map((entry) => [entry.name, entry]));
		return {
			file,
			metadata,
			header,
			close: () => handle.close(),
			async read(name, into) {
				const entry = header.get(name);
				if (!entry) throw new Error(`${file}: no tensor ${JSON.stringify(name)} among its ${header.size}`);
				if (into && into.byteLength < entry.length) {
					throw new Error(`${file}: ${name} has ${entry.length} bytes, the destination ${into.byteLength}`);
				}
				const bytes = into ? into.subarray(0, entry.length) : new Uint8Array(entry.length);
				await readFully(handle, bytes, entry.offset, file);
				return bytes;
			},
		};
	} catch (error) {
		await handle.close();
		throw error;
	}
}

async function readHeader(handle: FileHandle, file: string): Promise<SafetensorsHeader> {
	const { size } = await handle.stat();
	if (size < 8) throw new Error(`${file}: ${size} bytes, expected at least 8; not a safetensors file`);
	const prefix = new Uint8Array(8);
	await readFully(handle, prefix, 0, file);
	const length = new DataView(prefix.buffer).getBigUint64(0, true);
	const most = Math.min(MAX_HEADER_BYTES, size - 8);
	if (length > BigInt(most)) {
		throw new Error(
			`${file}: header length is ${length}, expected at most ${most}; the file is cut off or not safetensors, fetch it again`,
		);
	}
	const json = new Uint8Array(Number(length));
	await readFully(handle, json, 8, file);
	return parseHeader(json, size, file);
}

async function readFully(handle: FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
	let done = 0;
	while (done < into.byteLength) {
		const { bytesRead } = await handle.read(into, done, Math.min(into.byteLength - done, MAX_READ_BYTES), position + done);
		if (bytesRead === 0)
			throw new Error(`${file}: ended at byte ${position + done}, expected ${position + into.byteLength}; it was cut off`);
		done += bytesRead;
	}
}
