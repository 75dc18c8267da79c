import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { mapAhead } from "../../src/dataset/map-ahead.js";

async function* upTo(count: number, after?: () => void): AsyncGenerator<number> {
	try {
		for (let i = 0; i < count; i++) yield i;
	} finally {
		after?.();
	}
}

describe("mapAhead", () => {
	it("keeps the order, whichever ends first, and takes no more than it may", async () => {
		let [underWay, most] = [0, 0];
		const map = async (item: number) => {
			most = Math.max(most, ++underWay);
			for (let i = 0; i < (item * 7) % 5; i++) await turn();
			underWay--;
			return item;
		};
		const seen: number[] = [];
		for await (const item of mapAhead(upTo(40), map, 4)) seen.push(item);
		expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => i));
		expect(most).toBe(4);
	});

	it("yields what stands before an error, of the source or of an item, first", async () => {
		const failing = (at: number) => async (item: number) => {
			if (item === at) throw new Error(`item ${at}`);
			return item;
		};
		async function* broken() {
			yield* upTo(3);
			throw new Error("the source");
		}
		for (const [stream, message] of [
			[mapAhead(broken(), failing(9), 8), "the source"],
			[mapAhead(upTo(9), failing(3), 8), "item 3"],
			[mapAhead(broken(), failing(3), 1), "the source"],
		] as const) {
			const seen: number[] = [];
			await expect(
				(async () => {
					for await (const item of stream) seen.push(item);
				})(),
			).rejects.toThrow(message);
			expect(seen).toEqual([0, 1, 2]);
		}
	});

	it("left early, closes the source and waits for what is under way", async () => {
		let [closed, underWay] = [false, 0];
		const map = async (item: number) => {
			underWay++;
			if (item > 0) await turn();
			underWay--;
			return item;
		};
		const source = upTo(100, () => {
			closed = true;
		});
		for await (const _ of mapAhead(source, map, 8)) break;
		expect([closed, underWay]).toEqual([true, 0]);
	});
});
