/** A row from outside against its zod schema; what fails is said as field, expected and got, for a person. */
import type { z } from "zod";

/** A row that passed, or the first thing that is wrong with it. */
export type CheckedRow<T> = { ok: true; value: T } | { ok: false; field: string; expected: string; got: string };

/** @returns the parsed row, or its first failing field. */
export function checkRow<T>(schema: z.ZodType<T>, value: unknown): CheckedRow<T> {
	const result = schema.safeParse(value);
	if (result.success) return { ok: true, value: result.data };
	const issue = result.error.issues[0];
	return { ok: false, field: issue.path.join("."), expected: expectation(issue), got: describeValue(at(value, issue.path)) };
}

/** What a value is, short enough for one line: `string "a cat"`, `number 3`, `nothing`. */
function describeValue(value: unknown): string {
	if (value === undefined) return "nothing";
	if (value === null) return "null";
	const text = JSON.stringify(value);
	const kind = Array.isArray(value) ? "array" : typeof value;
	return `${kind} ${text.length > 60 ? `${text.slice(0, 57)}…` : text}`;
}

function expectation(issue: z.core.$ZodIssue): string {
	if (issue.code === "invalid_type") return issue.expected;
	if (issue.code === "invalid_value") return issue.values.map((value) => JSON.stringify(value)).join(" or ");
	return issue.message.replace(/^Too (small|big): expected /, "");
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
	let current = value;
	for (const step of path) {
		if (typeof current !== "object" || current === null) return undefined;
		current = Reflect.get(current, step);
	}
	return current;
}
