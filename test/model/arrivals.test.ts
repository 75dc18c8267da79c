import { expect, it } from "vitest";
import { Arrivals } from "../../src/model/qwen2_5_vl/arrivals.js";

const turn = () => new Promise(setImmediate);

it("shows what has arrived without waiting, and asks for one item ahead", async () => {
	let asked = 0;
	async function* source() {
		for (;;) yield asked++;
	}
	const arrivals = new Arrivals(source());
	expect(arrivals.peek()).toBeUndefined();
	await arrivals.wait();
	expect(arrivals.peek()).toBe(0);
	await turn();
	expect(asked).toBe(1);
	expect(arrivals.take()).toBe(0);
	await arrivals.wait();
	expect(arrivals.take()).toBe(1);
});

it("takes iterables and promises of any make", async () => {
	// biome-ignore lint/suspicious/noThenProperty: what a library's own promise is
	const thenable = { next: () => ({ then: (resolve: (result: unknown) => void) => resolve({ done: false, value: "late" }) }) };
	const later = new Arrivals({ [Symbol.asyncIterator]: () => thenable } as unknown as AsyncIterable<string>);
	await later.wait();
	expect(later.take()).toBe("late");
	const now = new Arrivals(["a"]);
	expect([now.peek(), now.take(), now.peek(), now.ended]).toEqual(["a", "a", undefined, true]);
});

it("keeps a failure until it is asked for", async () => {
	// biome-ignore lint/correctness/useYield: it fails before its first item
	async function* source(): AsyncGenerator<number> {
		throw new Error("broken");
	}
	const arrivals = new Arrivals(source());
	await arrivals.wait();
	expect(arrivals.ended).toBe(true);
	expect(() => arrivals.throwFailure()).toThrow("broken");
});

it("waits no longer than its signal, and closes no later than it must", async () => {
	let closed = false;
	let go = () => {};
	async function* source() {
		try {
			yield 1;
			await new Promise<void>((resolve) => {
				go = resolve;
			});
			yield 2;
		} finally {
			closed = true;
		}
	}
	const arrivals = new Arrivals(source());
	await arrivals.wait();
	arrivals.take();
	const abort = new AbortController();
	const waiting = arrivals.wait(abort.signal);
	abort.abort(new Error("enough"));
	await expect(waiting).rejects.toThrow("enough");
	await arrivals.close();
	expect(closed).toBe(false); // it is asked for an item still
	go();
	await turn();
	expect(closed).toBe(true);
});
