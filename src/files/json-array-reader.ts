/**
 * The values of a JSON array from blocks of its bytes, some dozens at a time.
 *
 * The fast way does not look at the bytes between rows: it cuts at a place that looks like the end of a row (`},{`) and has `JSON.parse`
 * read what is before it, in brackets. If that is valid JSON, the place *is* the end of a row: inside a string or an inner list the
 * text before it would not be complete. If it is not valid, that place was none, or the file is broken: from there on the splitter
 * looks at each byte, and says what is wrong.
 */
import { isUtf8 } from "node:buffer";
import { type ElementGroup, JsonArraySplitter } from "./split-json-array.js";

/** An element that is not JSON, of which only the bounds are sure: a bad row, and the ones after it are read. */
export class BrokenElement {
	constructor(readonly bytes: Buffer) {}
}

/** Bytes read by one JSON.parse: with more, objects grow old before they are used and are moved by the garbage collector. */
const PIECE = 1 << 16;
const [OPEN_OBJECT, SPACE] = [0x7b, 0x20];

export class JsonArrayReader {
	#rest: Buffer = Buffer.alloc(0);
	#splitter: JsonArraySplitter | undefined;

	/** @returns groups of values, a BrokenElement in the place of one that is none. @throws SyntaxError as JsonArraySplitter does. */
	*push(block: Buffer): Generator<unknown[]> {
		if (this.#splitter) {
			yield* this.#split(this.#splitter, block);
			return;
		}
		let bytes = this.#rest.length === 0 ? block : Buffer.concat([this.#rest, block]);
		for (let end = rowEnd(bytes); end >= 0; end = rowEnd(bytes)) {
			const values = parseList(bytes.subarray(0, end));
			if (!values) break;
			yield values;
			bytes = bytes.subarray(end + 1);
		}
		this.#rest = bytes;
		if (bytes.length > 2 * PIECE) yield* this.#lookAtEachByte();
	}

	/** The values that are left, as in `push`. @throws SyntaxError if the array has not ended. */
	*end(): Generator<unknown[]> {
		if (!this.#splitter) yield* this.#lookAtEachByte();
		this.#splitter?.end();
	}

	*#lookAtEachByte(): Generator<unknown[]> {
		this.#splitter = new JsonArraySplitter();
		const rest = this.#rest;
		this.#rest = Buffer.alloc(0);
		yield* this.#split(this.#splitter, rest);
	}

	*#split(splitter: JsonArraySplitter, block: Buffer): Generator<unknown[]> {
		for (const group of splitter.push(block)) {
			const values = parseList(group.bytes);
			if (values?.length === group.count) yield values;
			else yield* eachOf(group);
		}
	}
}

/** Where the comma stands after what looks like the last row in the first `PIECE` bytes; -1: nowhere. */
function rowEnd(bytes: Buffer): number {
	for (let at = bytes.lastIndexOf("},", PIECE); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf("},", at - 1)) {
		let next = at + 2;
		while (next < bytes.length && bytes[next] <= SPACE) next++;
		if (bytes[next] === OPEN_OBJECT) return at + 1;
	}
	return -1;
}

/** The values, or undefined where one of them is broken. */
function parseList(bytes: Buffer): unknown[] | undefined {
	if (!isUtf8(bytes)) return undefined;
	try {
		return JSON.parse(`[${bytes.toString()}]`);
	} catch {
		return undefined; // the caller looks closer, and says what is wrong
	}
}

/** One value after the other, the broken ones marked. */
function* eachOf({ bytes }: ElementGroup): Generator<unknown[]> {
	for (const { bytes: element } of new JsonArraySplitter(1).push(Buffer.concat([bytes, Buffer.from("]")]))) {
		const [value] = parseList(element) ?? [];
		yield [value === undefined ? new BrokenElement(element) : value];
	}
}
