/** A row from outside against its zod schema; what fails is said as field, expected and got, for a person. */
import type { z } from "zod";
import type { RowProblem } from "./dataset-error.js";

/** A row that passed, or the first thing that is wrong with it. */
export type CheckedRow<T> = { ok: true; value: T } | ({ ok: false } & Pick<RowProblem, "field" | "kind" | "expected" | "got">);

/** Rows are a few levels deep; deeper ones would overflow the stack of whoever walks them, such as JSON.stringify. */
const MAX_DEPTH = 64;
const SHOWN = 60;

/** @returns the parsed row, or its first failing field. */
export function checkRow<T>(schema: z.ZodType<T>, value: unknown): CheckedRow<T> {
	if (isDeeperThan(value, MAX_DEPTH)) {
		return { ok: false, field: "", kind: "too-deep", expected: `at most ${MAX_DEPTH} levels of arrays and objects`, got: "more" };
	}
	const result = schema.safeParse(value);
	if (result.success) return { ok: true, value: result.data };
	const issue = result.error.issues[0];
	const found = at(value, issue.path);
	const kind = typeof found === "number" && !Number.isFinite(found) ? "not-finite" : "wrong-type";
	return { ok: false, field: issue.path.join("."), kind, expected: expectation(issue), got: describeValue(found) };
}

/** Whether arrays and objects stand inside each other more than `depth` times; takes no stack. */
function isDeeperThan(value: unknown, depth: number): boolean {
	let level: object[] = isNode(value) ? [value] : [];
	for (let below = 0; below < depth; below++) {
		if (level.length === 0) return false;
		level = level.flatMap((node) => Object.values(node).filter(isNode));
	}
	return level.length > 0;
}

const isNode = (value: unknown): value is object => typeof value === "object" && value !== null && !ArrayBuffer.isView(value);

/** What a value is, short enough for one line: `string "a cat"`, `number 3`, `nothing`. */
function describeValue(value: unknown): string {
	if (value === undefined) return "nothing";
	if (value === null) return "null";
	if (typeof value === "number" || typeof value === "bigint") return `${typeof value} ${value}`;
	const text = JSON.stringify(typeof value === "string" ? value.slice(0, SHOWN) : value) ?? "";
	const kind = Array.isArray(value) ? "array" : typeof value;
	return `${kind} ${text.length > SHOWN ? `${text.slice(0, SHOWN - 3)}…` : text}`;
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
