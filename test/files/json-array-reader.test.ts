/** The reader against `JSON.parse` of the whole text: the same values however the bytes are cut into blocks, and an error where there is one. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokenElement, JsonArrayReader } from "../../src/files/json-array-reader.js";
import { JsonArraySplitter } from "../../src/files/split-json-array.js";

/** @param text an array @param size of the blocks in bytes @throws SyntaxError where the array or an element of it is broken */
function read(text: string, size: number): unknown[] {
	const bytes = Buffer.from(text).subarray(1); // behind the bracket
	const reader = new JsonArrayReader();
	const values: unknown[] = [];
	for (let at = 0; at < bytes.length; at += size) for (const some of reader.push(bytes.subarray(at, at + size))) values.push(...some);
	for (const some of reader.end()) values.push(...some);
	if (values.some((value) => value instanceof BrokenElement)) throw new SyntaxError("a broken element");
	return values;
}

const parse = (text: string): unknown[] | undefined => {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
};

/** Text that looks like the end of a row, and what escapes it. */
const tricky = fc.stringMatching(/^[\]{}[,"\\\n aé😀]*$/u);
const row = fc.oneof(
	fc.jsonValue({ maxDepth: 3 }),
	fc.record({
		prompt: tricky,
		list: fc.array(fc.record({ a: tricky }), { maxLength: 3 }),
		n: fc.double({ noNaN: true, noDefaultInfinity: true }),
	}),
);
const array = fc
	.tuple(fc.array(row, { maxLength: 30 }), fc.constantFrom("", " ", "\n  ", "\r\n\t"), fc.constantFrom(0, 1))
	.map(
		([rows, space, indent]) =>
			`[${space}${rows.map((value) => JSON.stringify(value, null, indent)).join(`${space},${space}`)}${space}]${space}`,
	);
const size = fc.integer({ min: 1, max: 300 });

describe("a JSON array in blocks", () => {
	it("gives what JSON.parse gives", () => {
		fc.assert(
			fc.property(array, size, (text, size) => {
				expect(read(text, size)).toEqual(JSON.parse(text));
			}),
			{ numRuns: 1000 },
		);
	});

	it("is refused where JSON.parse refuses it, and only there", () => {
		const edited = fc.tuple(array, fc.nat(), fc.nat(3), fc.constantFrom(...']}{[,"\\ 1')).map(([text, at, cut, put]) => {
			const place = 1 + (at % text.length);
			return Buffer.from(text.slice(0, place) + put + text.slice(place + cut)).toString(); // no half characters
		});
		fc.assert(
			fc.property(edited, size, (text, size) => {
				const whole = parse(text);
				if (whole === undefined) expect(() => read(text, size)).toThrow(SyntaxError);
				else expect(read(text, size)).toEqual(whole);
			}),
			{ numRuns: 2000 },
		);
	});

	it("is cut at likely places where rows are many, and looked at byte by byte where they are none", () => {
		const flat = Array.from({ length: 3000 }, (_, i) => ({ i, text: "x".repeat(100) }));
		const nested = Array.from({ length: 300 }, (_, i) => ({ i, turns: Array.from({ length: 20 }, () => ({ value: '},{"' })) }));
		const long = [{ text: "},{".repeat(200_000) }, { text: "short" }, "no object", { i: 1 }];
		for (const rows of [flat, nested, long, [...flat, ...nested, ...long, ...flat]]) {
			expect(read(JSON.stringify(rows), 1 << 16)).toEqual(rows);
			expect(read(JSON.stringify(rows, null, 1), 50_000)).toEqual(rows);
		}
	});

	it("marks an element that is not UTF-8, and reads the ones beside it", () => {
		const reader = new JsonArrayReader();
		const bytes = Buffer.from('{"a":"caf\u00e9"},{"a":1}]', "latin1");
		const values = [...reader.push(bytes), ...reader.end()].flat();
		expect(values[0]).toBeInstanceOf(BrokenElement);
		expect(values.slice(1)).toEqual([{ a: 1 }]);
	});

	it("has rows of at most 64 MiB", () => {
		const splitter = new JsonArraySplitter();
		splitter.push(Buffer.from('{"a":"'));
		const block = Buffer.alloc(1 << 24, "x");
		const pushAll = () => {
			for (let i = 0; i < 5; i++) splitter.push(block);
		};
		expect(pushAll).toThrow(/a row of more than 67108864 bytes; is a quote or a bracket missing\?/);
	});
});
