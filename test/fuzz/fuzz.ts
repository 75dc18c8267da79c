/** How much is drawn, how bytes are spoiled, and a watch for inputs that take too long. */
import fc from "fast-check";
import { expect } from "vitest";

/** Inputs of a kind, at least: rows, journals (so many files, and so many lines), completions, safetensors headers. FUZZ_RUNS draws more. */
export const RUNS = Number(process.env.FUZZ_RUNS ?? 10_000);
/** For the whole suite: far above what it takes, which is a few seconds. */
export const TIMEOUT = 300_000;
/** No single input may take longer, on a busy machine either. */
const LONGEST_MS = 5_000;

/** A place, as a part of the length; each as likely as the next, which fast-check's own choice is not. */
const at = fc.noBias(fc.integer({ min: 0, max: 2 ** 24 })).map((place) => place / 2 ** 24);
const spoiling = fc.oneof(
	fc.record({ kind: fc.constant("cut" as const), at }),
	fc.record({ kind: fc.constant("change" as const), at, byte: fc.integer({ min: 0, max: 255 }) }),
	fc.record({ kind: fc.constant("insert" as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
	fc.record({
		kind: fc.constant("insert" as const),
		at,
		bytes: fc
			.constantFrom(
				"\n",
				'"',
				"[",
				"]",
				"{",
				"}",
				",",
				":",
				"\\",
				"\0",
				"\ufeff",
				"NaN",
				"1e999",
				"-1",
				"null",
				'{"__proto__":1}',
				"[".repeat(99),
			)
			.map((text) => Buffer.from(text)),
	}),
	fc.record({ kind: fc.constant("remove" as const), at, length: fc.integer({ min: 1, max: 60 }) }),
	fc.record({ kind: fc.constant("repeat" as const), at, length: fc.integer({ min: 1, max: 60 }) }),
);
export type Spoiling = typeof spoiling extends fc.Arbitrary<infer S> ? S : never;

/** Some changes to bytes that were whole. */
export const spoilings = fc.array(spoiling, { minLength: 1, maxLength: 4 });

export function spoil(bytes: Buffer, changes: readonly Spoiling[]): Buffer {
	return changes.reduce<Buffer>((before, change) => {
		const from = Math.floor(change.at * before.length);
		const [head, tail] = [before.subarray(0, from), before.subarray(from)];
		if (change.kind === "cut") return head;
		if (change.kind === "change") return Buffer.concat([head, Buffer.from([change.byte]), tail.subarray(1)]);
		if (change.kind === "insert") return Buffer.concat([head, change.bytes, tail]);
		if (change.kind === "remove") return Buffer.concat([head, tail.subarray(change.length)]);
		return Buffer.concat([head, tail.subarray(0, change.length), tail]);
	}, bytes);
}

/** Runs one input, and fails where it takes too long. */
export async function timed<T>(run: () => T | Promise<T>): Promise<T> {
	const started = performance.now();
	const result = await run();
	expect(performance.now() - started).toBeLessThan(LONGEST_MS);
	return result;
}
