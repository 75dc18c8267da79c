/** The iterator by hand against the generator it stands for. */
import { describe, expect, it } from "vitest";
import { eachOfGroups } from "../../src/files/each-of-groups.js";

/** Groups, and how many of them were asked for; `closed` once nobody wants more. */
function groupsOf(groups: (number[] | Error)[]) {
	const seen = { asked: 0, closed: false };
	async function* give(): AsyncGenerator<number[]> {
		try {
			for (const group of groups) {
				seen.asked++;
				await Promise.resolve();
				if (group instanceof Error) throw group;
				yield group;
			}
		} finally {
			seen.closed = true;
		}
	}
	return { items: eachOfGroups(give()), seen };
}

describe("the items of groups", () => {
	it("come in order, empty groups left out, and end once and for all", async () => {
		const { items, seen } = groupsOf([[], [1, 2], [], [], [3], []]);
		expect(seen.asked).toBe(0);
		expect(await items.next()).toEqual({ done: false, value: 1 });
		expect(seen.asked).toBe(2);
		const rest: number[] = [];
		for await (const item of items) rest.push(item);
		expect(rest).toEqual([2, 3]);
		expect(await items.next()).toEqual({ done: true, value: undefined });
		expect(seen.closed).toBe(true);
	});

	it("are answered in turn where several are asked for at once", async () => {
		const { items } = groupsOf([[1, 2], [3], [4]]);
		const steps = await Promise.all(Array.from({ length: 6 }, () => items.next()));
		expect(steps.map(({ value }) => value)).toEqual([1, 2, 3, 4, undefined, undefined]);
	});

	it("end where one is left early, and close what is behind them", async () => {
		const { items, seen } = groupsOf([[1, 2], [3]]);
		for await (const item of items) if (item === 1) break;
		expect(seen).toEqual({ asked: 1, closed: true });
		expect(await items.next()).toEqual({ done: true, value: undefined });
	});

	it("nothing is read where they are closed before the first", async () => {
		const { items, seen } = groupsOf([[1]]);
		await items.return?.();
		expect(await items.next()).toEqual({ done: true, value: undefined });
		expect(seen.asked).toBe(0);
	});

	it("come before an error that follows them, which is thrown once", async () => {
		const { items, seen } = groupsOf([[1, 2], new Error("broken"), [3]]);
		const [one, two, three, four] = await Promise.allSettled([items.next(), items.next(), items.next(), items.next()]);
		expect([one, two]).toMatchObject([{ value: { value: 1 } }, { value: { value: 2 } }]);
		expect(three).toMatchObject({ status: "rejected", reason: { message: "broken" } });
		expect(four).toMatchObject({ value: { done: true } });
		expect(seen.closed).toBe(true);
	});
});
