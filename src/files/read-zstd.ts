/**
 * Zstandard, frame by frame and block by block: `fzstd` decompresses a block; what stands around blocks is read here, because the checksum of a
 * frame's content stands there, which `fzstd` passes over. Damage inside a caption would otherwise be read as a caption.
 *
 * A file may have several frames (`cat a.zst b.zst`, compressors with several threads) and ones to be skipped. Format: RFC 8878, section 3.1.
 */
import { Decompress } from "fzstd";
import xxhash from "xxhash-wasm";

const FRAME = 0xfd2fb528;
/** Of frames to be skipped, all but the lowest four bits. */
const SKIPPABLE = 0x184d2a50;
const RLE_BLOCK = 1;
/** Bytes of the dictionary's id and of the content's size, by the flags that say so. */
const DICTIONARY_ID = [0, 1, 2, 4];
const CONTENT_SIZE = [0, 2, 4, 8];
const PIECE = 1 << 16;

/**
 * @param blocks the file's bytes
 * @returns the content, a block of 128 KiB at most at a time
 * @throws Error for a file that ends too early, is damaged, or is not Zstandard
 */
export async function* readZstd(blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
	const source = new Source(blocks[Symbol.asyncIterator]());
	const { create64 } = await xxhash();
	try {
		while (!(await source.isAtEnd())) {
			const magic = (await source.take(4)).readUInt32LE();
			if (magic === FRAME) yield* readFrame(source, create64);
			else if (magic >>> 4 === SKIPPABLE >>> 4) await source.skip((await source.take(4)).readUInt32LE());
			else throw new Error(`expected a Zstandard frame, got bytes 0x${magic.toString(16)}`);
		}
	} finally {
		await source.close();
	}
}

type Hash = Awaited<ReturnType<typeof xxhash>>["create64"];

async function* readFrame(source: Source, create64: Hash): AsyncGenerator<Buffer> {
	const { header, hasChecksum } = await readHeader(source);
	const hash = hasChecksum ? create64() : undefined;
	let ready: Buffer[] = [];
	const decoder = new Decompress((bytes) => {
		// The decoder writes on in its own memory once it goes on.
		if (bytes.length > 0) ready.push(Buffer.from(bytes));
	});
	let before = header;
	for (let isLast = false; !isLast; ) {
		const head = await source.take(3);
		const fields = head.readUIntLE(0, 3);
		isLast = (fields & 1) === 1;
		const body = await source.take(((fields >>> 1) & 3) === RLE_BLOCK ? 1 : fields >>> 3);
		const checksum = isLast && hasChecksum ? await source.take(4) : Buffer.alloc(0);
		decoder.push(Buffer.concat([before, head, body, checksum]), isLast);
		before = Buffer.alloc(0);
		for (const bytes of ready) {
			hash?.update(bytes);
			yield bytes;
		}
		ready = [];
		if (isLast && hash) compare(Number(hash.digest() & 0xffffffffn), checksum.readUInt32LE());
	}
}

/** The frame's header as it stands, for the decoder. */
async function readHeader(source: Source): Promise<{ header: Buffer; hasChecksum: boolean }> {
	const magic = Buffer.alloc(4);
	magic.writeUInt32LE(FRAME);
	const descriptor = await source.take(1);
	const flags = descriptor[0];
	const isSingleSegment = (flags & 0x20) !== 0;
	const contentSize = CONTENT_SIZE[flags >>> 6] || (isSingleSegment ? 1 : 0);
	const rest = await source.take((isSingleSegment ? 0 : 1) + DICTIONARY_ID[flags & 3] + contentSize);
	return { header: Buffer.concat([magic, descriptor, rest]), hasChecksum: (flags & 4) !== 0 };
}

function compare(found: number, said: number): void {
	const hex = (n: number) => n.toString(16).padStart(8, "0");
	if (found !== said) throw new Error(`the content's checksum is ${hex(found)}, expected ${hex(said)}: the data is damaged`);
}

/** Bytes by number, whatever blocks they come in. */
class Source {
	readonly #blocks: AsyncIterator<Buffer>;
	#held: Buffer = Buffer.alloc(0);

	constructor(blocks: AsyncIterator<Buffer>) {
		this.#blocks = blocks;
	}

	async isAtEnd(): Promise<boolean> {
		return this.#held.length === 0 && !(await this.#read());
	}

	/** @throws Error where the file has fewer */
	async take(count: number): Promise<Buffer> {
		while (this.#held.length < count) if (!(await this.#read())) throw new Error("unexpected end of file");
		const taken = this.#held.subarray(0, count);
		this.#held = this.#held.subarray(count);
		return taken;
	}

	async skip(count: number): Promise<void> {
		for (let left = count; left > 0; left -= PIECE) await this.take(Math.min(left, PIECE));
	}

	async close(): Promise<void> {
		await this.#blocks.return?.();
	}

	async #read(): Promise<boolean> {
		const next = await this.#blocks.next();
		if (next.done) return false;
		this.#held = this.#held.length === 0 ? next.value : Buffer.concat([this.#held, next.value]);
		return true;
	}
}
