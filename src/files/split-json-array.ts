/**
 * Cuts the bytes of a JSON array into its elements, in one pass and without parsing them: outside strings, brackets are counted; an
 * element ends at a comma or at the closing bracket of the array. What an element says is for `JSON.parse`, which checks it.
 *
 * Elements come in groups of some dozens, as they stand with the commas between them: one call of `JSON.parse` for a group is faster
 * than one for each. Why not a streaming parser: docs/decisions/2026-11-24-stream-json.md.
 */
import { MAX_ROW_BYTES } from "./parse-json-row.js";

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

export const isBlank = (bytes: Uint8Array) => bytes.every((byte) => WHITE_SPACE.has(byte));

/** Whole elements with the commas between them. */
export interface ElementGroup {
	bytes: Buffer;
	count: number;
}

/** Give it the blocks that follow the array's opening bracket, then call `end`. */
export class JsonArraySplitter {
	readonly #groupSize: number;
	/** The beginning of an element that goes on in the next block. */
	#parts: Buffer[] = [];
	#held = 0;
	#depth = 0;
	#inString = false;
	#escaped = false;
	#closed = false;
	#count = 0;

	/** @param groupSize elements of a group at most */
	constructor(groupSize = 64) {
		this.#groupSize = groupSize;
	}

	/**
	 * @returns the elements that end in the block.
	 * @throws SyntaxError for a closing brace that nothing opened, text after the array, and an element past `MAX_ROW_BYTES`.
	 */
	push(block: Buffer): ElementGroup[] {
		const groups: ElementGroup[] = [];
		if (this.#closed) return this.#afterEnd(block, groups);
		let [start, end, count] = [0, 0, 0];
		const close = () => {
			if (count > 0) groups.push({ bytes: this.#take(block.subarray(start, end)), count });
			[start, count] = [end + 1, 0];
		};
		for (let at = 0; at < block.length; ) {
			if (this.#inString) at = this.#skipString(block, at);
			const byte = block[at++];
			if (byte === QUOTE) this.#inString = true;
			else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.#depth++;
			else if (byte === COMMA && this.#depth === 0) {
				end = at - 1;
				this.#count++;
				if (++count === this.#groupSize || this.#held > 0) close();
			} else if ((byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) && --this.#depth < 0) {
				if (byte === CLOSE_OBJECT) throw new SyntaxError('unexpected "}"');
				end = at - 1;
				count += this.#isEmpty(block.subarray(start, end)) ? 0 : 1;
				close();
				this.#closed = true;
				return this.#afterEnd(block.subarray(at), groups);
			}
		}
		if (count > 0) close();
		this.#hold(block.subarray(start));
		return groups;
	}

	/** @throws SyntaxError if the array has not ended. */
	end(): void {
		if (!this.#closed) throw new SyntaxError("unexpected end of file");
	}

	/** @returns where the string ends, or the end of the block. */
	#skipString(block: Buffer, from: number): number {
		let at = from;
		if (this.#escaped) at++;
		this.#escaped = false;
		for (;;) {
			const quote = block.indexOf(QUOTE, at);
			const end = quote < 0 ? block.length : quote;
			let backslashes = 0;
			while (end - backslashes > at && block[end - backslashes - 1] === BACKSLASH) backslashes++;
			const escapes = backslashes % 2 === 1;
			if (quote < 0) {
				this.#escaped = escapes;
				return block.length;
			}
			at = quote + 1;
			if (escapes) continue;
			this.#inString = false;
			return at;
		}
	}

	/** `[]` has no element; `[1,]` has an empty one, which `JSON.parse` then refuses. */
	#isEmpty(last: Buffer): boolean {
		return this.#count === 0 && isBlank(last) && this.#parts.every(isBlank);
	}

	#take(end: Buffer): Buffer {
		if (this.#parts.length === 0) return end;
		const whole = Buffer.concat([...this.#parts, end]);
		[this.#parts, this.#held] = [[], 0];
		return whole;
	}

	#hold(part: Buffer): void {
		if (part.length > 0) this.#parts.push(part);
		this.#held += part.length;
		if (this.#held > MAX_ROW_BYTES) throw new SyntaxError(`a row of more than ${MAX_ROW_BYTES} bytes; is a quote or a bracket missing?`);
	}

	#afterEnd(rest: Buffer, groups: ElementGroup[]): ElementGroup[] {
		if (!isBlank(rest)) throw new SyntaxError("text after the array");
		return groups;
	}
}
