/**
 * The values of a JSON array from blocks of its bytes, some hundreds at a time.
 *
 * The fast way does not look at the bytes between rows: it cuts at a place that looks like the end of a row (`},{`) and has `JSON.parse`
 * read what is before it, in brackets. If that is valid JSON, the place *is* the end of a row: inside a string or an inner list the
 * text before it would not be complete. If it is not valid, that place was none, or the file is broken: from there on the splitter
 * looks at each byte, and says what is wrong.
 */
import { isAscii, isUtf8 } from "node:buffer";
import { type ElementGroup, JsonArraySplitter } from "./split-json-array.js";

/** An element that is not JSON, of which only the bounds are sure: a bad row, and the ones after it are read. */
export class BrokenElement {
	constructor(readonly bytes: Buffer) {}
}

/** Bytes read by one JSON.parse: with more, objects grow old before they are used and are moved by the garbage collector. */
const PIECE = 1 << 16;
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, COMMA, SPACE] = [0x5b, 0x5d, 0x7b, 0x2c, 0x20];
const [OPEN, CLOSE] = [Buffer.from("["), Buffer.from("]")];

export class JsonArrayReader {
	/** The beginning of a row that goes on in the next block. */
	#rest: Buffer = Buffer.alloc(0);
	#splitter: JsonArraySplitter | undefined;

	/**
	 * @param block what follows the array's opening bracket; it is written into, and not given back
	 * @returns groups of values, a BrokenElement in the place of one that is none.
	 * @throws SyntaxError as JsonArraySplitter does.
	 */
	*push(block: Buffer): Generator<unknown[]> {
		if (this.#splitter) {
			yield* this.#split(this.#splitter, block);
			return;
		}
		const seam = firstRowEnd(block);
		const first = seam < 0 ? undefined : parse(Buffer.concat([OPEN, this.#rest, block.subarray(0, seam), CLOSE]));
		if (first) {
			yield first;
			this.#rest = yield* this.#parsePieces(block.subarray(seam));
		} else {
			this.#rest = Buffer.concat([this.#rest, block]);
		}
		if (this.#rest.length > 2 * PIECE) yield* this.#lookAtEachByte();
	}

	/** The values that are left, as in `push`. @throws SyntaxError if the array has not ended. */
	*end(): Generator<unknown[]> {
		if (!this.#splitter) yield* this.#lookAtEachByte();
		this.#splitter?.end();
	}

	/**
	 * The comma between two pieces becomes the bracket behind the one, then the one before the other: so no copy is made to put them there.
	 * @param rows begin with the comma behind the row before @returns what is left, without a comma before it
	 */
	*#parsePieces(rows: Buffer): Generator<unknown[], Buffer> {
		let left = rows;
		for (let end = lastRowEnd(left); end > 0; end = lastRowEnd(left)) {
			[left[0], left[end]] = [OPEN_ARRAY, CLOSE_ARRAY];
			const values = parse(left.subarray(0, end + 1));
			left[end] = COMMA;
			if (!values) break;
			yield values;
			left = left.subarray(end);
		}
		return left.subarray(1);
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

/** Where the comma stands after what looks like the first row's end; -1: nowhere. */
function firstRowEnd(bytes: Buffer): number {
	for (let at = bytes.indexOf("},"); at >= 0; at = bytes.indexOf("},", at + 1)) if (isRowEnd(bytes, at)) return at + 1;
	return -1;
}

/** Where the comma stands after what looks like the last row in the first `PIECE` bytes; -1: nowhere. */
function lastRowEnd(bytes: Buffer): number {
	for (let at = bytes.lastIndexOf("},", PIECE); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf("},", at - 1)) {
		if (isRowEnd(bytes, at)) return at + 1;
	}
	return -1;
}

/** Whether an object follows the `},` there. */
function isRowEnd(bytes: Buffer, at: number): boolean {
	let next = at + 2;
	while (next < bytes.length && bytes[next] <= SPACE) next++;
	return bytes[next] === OPEN_OBJECT;
}

const parseList = (elements: Buffer) => parse(Buffer.concat([OPEN, elements, CLOSE]));

/** The values of a list, or undefined where one of them is broken. */
function parse(list: Buffer): unknown[] | undefined {
	const text = textOf(list);
	if (text === undefined) return undefined;
	try {
		return JSON.parse(text);
	} catch {
		return undefined; // the caller looks closer, and says what is wrong
	}
}

/** Undefined where the bytes are not UTF-8. As Latin-1, ASCII is copied as it stands. */
function textOf(bytes: Buffer): string | undefined {
	if (isAscii(bytes)) return bytes.toString("latin1");
	return isUtf8(bytes) ? bytes.toString() : undefined;
}

/** One value after the other, the broken ones marked. */
function* eachOf({ bytes }: ElementGroup): Generator<unknown[]> {
	for (const { bytes: element } of new JsonArraySplitter(1).push(Buffer.concat([bytes, CLOSE]))) {
		const [value] = parseList(element) ?? [];
		yield [value === undefined ? new BrokenElement(element) : value];
	}
}
