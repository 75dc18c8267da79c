/** generateCoT with a journal: what is there is not drawn again, and nothing shows which way a rollout came. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { PreferenceRecord } from "../../src/dataset/preference-record.js";
import type { GenerativeModel } from "../../src/model/generative-model.js";
import { cotConfiguration, type GenerateCotOptions, generateCoT } from "../../src/sampler/generate-cot.js";
import { type Journal, openJournal } from "../../src/sampler/journal.js";
import { JournalError } from "../../src/sampler/journal-error.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { fakeModel } from "../../src/testing.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";
import { filesOf, journalRun, killAndContinue } from "./kill-points.js";
import { judgement, record, records, rightAnswer, WORSE } from "./records.js";

const JUDGE = { model: { name: "fake" }, processor: { name: "fake" } };
const bySeed = (_: unknown, seed: number) => judgement(1, `${seed} ${"x ".repeat(seed % 9)}`);

/** The fake judge, counting the rows that it generates. */
function counting(answer = bySeed): { model: GenerativeModel; rows: () => number } {
	const fake = fakeModel({ answer });
	let rows = 0;
	const generate: GenerativeModel["generate"] = (inputs, options) => {
		rows += options?.promptOfRow?.length ?? inputs.inputIds.shape[0];
		return fake.generate(inputs, options);
	};
	return { model: { ...fake, generate }, rows: () => rows };
}

let file: string;
beforeEach(async () => {
	file = join(await temporaryFolder(), "journal.jsonl");
});

const OPTIONS: GenerateCotOptions = { samplesPerRecord: 2, batchSize: 4 };

async function withJournal<T>(options: GenerateCotOptions, use: (journal: Journal) => Promise<T>): Promise<T> {
	await using journal = await openJournal(file, { configuration: cotConfiguration(JUDGE, options) });
	return await use(journal);
}
const sample = (from: PreferenceRecord[], model: GenerativeModel, options: GenerateCotOptions = OPTIONS) =>
	withJournal(options, (journal) => collect(generateCoT(from, model, { ...options, journal })));

describe("with a journal", () => {
	it("rollouts are those without one, in the same order", async () => {
		const all = [...records(30), record(30, { images: ["/lost.png", WORSE] })];
		const expected = await collect(generateCoT(all, fakeModel({ answer: bySeed }), OPTIONS));
		const first = await sample(all, fakeModel({ answer: bySeed }));
		const again = counting();
		const second = await sample(all, again.model, { ...OPTIONS, batchSize: 1 });
		expect(first).toEqual(expected);
		expect([JSON.stringify(first) === JSON.stringify(expected), JSON.stringify(second) === JSON.stringify(expected)]).toEqual([true, true]);
		expect(again.rows()).toBe(0);
	});

	it("only what is missing is drawn: more records, more samples, another order of records", async () => {
		await sample(records(10), fakeModel({ answer: bySeed }));
		const grown = counting();
		const all = [...records(14)].reverse();
		const rollouts = await sample(all, grown.model, { ...OPTIONS, samplesPerRecord: 3 });
		expect(grown.rows()).toBe(14 * 3 - 10 * 2);
		expect(rollouts).toEqual(await collect(generateCoT(all, fakeModel({ answer: bySeed }), { ...OPTIONS, samplesPerRecord: 3 })));
	});

	it("records come from the data set as it is now, texts from the journal", async () => {
		await sample(records(2), fakeModel({ answer: bySeed }));
		const moved = records(2).map((one) => ({ ...one, confidence: 0.5, source: { ...one.source, row: 99 } }));
		const again = counting();
		const rollouts = await sample(moved, again.model);
		expect(again.rows()).toBe(0);
		expect(rollouts.map((rollout) => rollout.record)).toEqual(moved.flatMap((one) => [one, one]));
	});

	it("an image of other bytes is judged anew; records of equal content are drawn once", async () => {
		const image = join(file, "..", "image.png");
		await writeFile(image, "one");
		const pair = record(0, { images: [image, WORSE] });
		await sample([pair], fakeModel({ answer: bySeed }));
		await writeFile(image, "two");
		const changed = counting();
		const rollouts = await sample([pair, pair], changed.model);
		expect(changed.rows()).toBe(2);
		expect(rollouts.slice(0, 2)).toEqual(rollouts.slice(2));
	});

	it("a long stretch that is there already is handed out as it is read, and reading goes on behind it", async () => {
		const many = records(3000);
		const half = many.filter((_, i) => i < 2400 && i !== 1200);
		const options = { batchSize: 300 };
		await sample(half, fakeModel({ answer: rightAnswer }), options);
		const rest = counting(rightAnswer as typeof bySeed);
		let [read, ahead, out] = [0, 0, 0];
		async function* source() {
			for (const one of many) {
				ahead = Math.max(ahead, ++read - out);
				yield one;
			}
		}
		await withJournal(options, async (journal) => {
			for await (const rollout of generateCoT(source(), rest.model, { ...options, journal })) {
				expect(rollout.record.source.row).toBe(out++);
			}
		});
		expect([out, rest.rows()]).toEqual([3000, 601]);
		expect(ahead).toBeLessThan(1024 + 8 * 300 + 20);
	});

	it("options other than its own are refused at once", async () => {
		await withJournal(OPTIONS, async (journal) => {
			const other = () => generateCoT(records(1), fakeModel({ answer: bySeed }), { ...OPTIONS, journal, temperature: 0.5 });
			expect(other).toThrow(JournalError);
			expect(other).toThrow(/sampling\.temperature: 1 in the journal, 0\.5 now/);
		});
	});

	it("samples that fail on their own are told, those of equal records too, and are tried again", async () => {
		const fake = fakeModel({ answer: bySeed });
		const flaky = (fails: (request: number) => boolean): GenerativeModel => ({
			...fake,
			async *generateStream(requests) {
				let request = 0;
				for await (const { seeds } of requests) {
					for (const sample of seeds.keys()) {
						if (fails(request)) yield { request, sample, error: { kind: "error", message: "no answer" } };
						else yield { request, sample, tokens: new Int32Array(3), text: bySeed(0, seeds[sample]), finishReason: "stop" };
					}
					request++;
				}
			},
		});
		// All are looked up before the first is answered.
		async function* slowly(model: GenerativeModel, ...[requests, options]: Parameters<NonNullable<GenerativeModel["generateStream"]>>) {
			const all = [];
			for await (const request of requests) all.push(request);
			if (model.generateStream) yield* model.generateStream(all, options);
		}
		const all = [record(0), record(1), record(1), record(2)];
		const broken = flaky((request) => request === 1);
		const first = await sample(all, { ...broken, generateStream: (...args) => slowly(broken, ...args) });
		expect(first.map(({ finishReason }) => finishReason)).toEqual(["stop", "stop", ...Array(4).fill("error"), "stop", "stop"]);
		const second = await sample(
			all,
			flaky(() => false),
		);
		expect(second.every(({ finishReason }) => finishReason === "stop")).toBe(true);
	});

	it("a model that ends without a word on its rows is an error, not a loss", async () => {
		const fake = fakeModel({ answer: bySeed });
		const deaf: GenerativeModel = { ...fake, generateStream: () => noSamples() };
		const dumb: GenerativeModel = { ...fake, generateStream: (requests) => noSamples(requests) };
		// biome-ignore lint/correctness/useYield: that is the fault
		async function* noSamples(requests: Iterable<unknown> | AsyncIterable<unknown> = []): AsyncGenerator<never> {
			for await (const _ of requests);
		}
		await expect(sample(records(5), deaf)).rejects.toThrow(/without taking a request/);
		await expect(sample(records(5), dumb)).rejects.toThrow(/with 10 rollouts under way, .*before all rows that it was asked for/);
	});

	it("a disk that fails ends the run with what the journal says; what it held is kept", async () => {
		await sample(records(3), fakeModel({ answer: bySeed }));
		const run = withJournal(OPTIONS, async (journal) => {
			const { writer } = (journal as unknown as { parts: { writer: { fail(error: unknown): void } } }).parts;
			const seen: Rollout[] = [];
			const all = generateCoT(records(9), fakeModel({ answer: bySeed }), { ...OPTIONS, journal });
			for await (const rollout of all) if (seen.push(rollout) === 6) writer.fail(new Error("ENOSPC: no space left on device"));
		});
		await expect(run).rejects.toThrow(/journal\.jsonl: can't be written: ENOSPC.*; the \d+ rollouts in it are safe/);
		const again = counting();
		expect(await sample(records(9), again.model)).toHaveLength(18);
		expect(again.rows()).toBeLessThanOrEqual(12);
	});
});

describe("stopping", () => {
	it("by an aborted signal loses no finished rollout, in order or not", async () => {
		const controller = new AbortController();
		const model = fakeModel({ answer: (_, seed) => "word ".repeat(1 + (seed % 40)) });
		let finished = 0;
		const onProgress = ({ done }: { done: number }) => {
			finished = done;
			if (done === 17) controller.abort(new Error("enough"));
		};
		await withJournal(OPTIONS, async (journal) => {
			const run = collect(generateCoT(records(40), model, { ...OPTIONS, journal, onProgress, signal: controller.signal }));
			await expect(run).rejects.toThrow("enough");
			expect(finished).toBeGreaterThanOrEqual(17);
			expect(journal.size).toBe(finished);
		});
	});

	it("by drain finishes what is under way and ends in order; the rest is drawn by the next run", async () => {
		const controller = new AbortController();
		const all = records(40);
		const onProgress = ({ done }: { done: number }) => done >= 5 && controller.abort();
		const options = { ...OPTIONS, batchSize: 2 };
		const begun = counting();
		const first = await withJournal(options, (journal) =>
			collect(generateCoT(all, begun.model, { ...options, journal, onProgress, drain: controller.signal })),
		);
		expect(first.length).toBe(begun.rows());
		expect(first.length).toBeLessThan(60);
		const rest = counting();
		const second = await sample(all, rest.model, options);
		expect(rest.rows()).toBe(80 - first.length);
		expect(second.slice(0, first.length)).toEqual(first);
	});

	it("works without a journal, too", async () => {
		const drained = generateCoT(records(5), fakeModel({ answer: bySeed }), { drain: AbortSignal.abort() });
		expect(await collect(drained)).toEqual([]);
	});
});

describe("a killed process", () => {
	let expected: Record<string, string[]>;
	let milliseconds = 0;
	let reference: string;
	beforeAll(async () => {
		reference = await mkdtemp(join(tmpdir(), "rft-kill-"));
		expected = {};
		for (const how of ["sampled", "greedy"]) {
			({ milliseconds } = await journalRun(join(reference, how), 7, how));
			expected[how] = await filesOf(join(reference, how));
		}
	});
	afterAll(() => rm(reference, { recursive: true }));

	it.each([
		["sampled", 0.02],
		["sampled", 0.3],
		["sampled", 0.55],
		["sampled", 0.8],
		["greedy", 0.2],
		["greedy", 0.7],
	])("%s, after %f of its time, is continued to the same bytes with another batch size", async (how, part) => {
		const point = await killAndContinue(join(await temporaryFolder(), "run"), how, part * milliseconds, [5, 16], expected[how]);
		expect(point).toMatchObject({ equal: true, after: how === "greedy" ? 54 : 162 });
		expect(JSON.parse(expected[how][0]).length).toBeGreaterThan(10);
	});
});

describe("a full disk", () => {
	it("of a small tmpfs stops the run with the reason; with room again it goes on to the same files", async (context) => {
		const folder = await temporaryFolder();
		const run = promisify(execFile);
		const mount = (size: string) => run("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tfjs-rft-test", folder]);
		// Without the right to mount, the same is shown with a limit on files: test/cli/robustness.test.ts.
		const refused = await mount("64k").then(
			() => undefined,
			(error: Error) => error.message,
		);
		if (refused !== undefined)
			return context.skip(`no tmpfs can be mounted here (${refused.trim()}); test/cli/robustness.test.ts shows it with ulimit`);
		try {
			await expect(journalRun(folder, 8, "sampled")).rejects.toThrow(/: can't be written: ENOSPC/);
			expect((await readFile(join(folder, "journal.jsonl"))).length).toBeGreaterThan(10_000);
			await run("mount", ["-o", "remount,size=8m", folder]);
			await journalRun(folder, 8, "sampled");
			const again = join(await temporaryFolder(), "again");
			await journalRun(again, 5, "sampled");
			expect(await filesOf(folder)).toEqual(await filesOf(again));
			await run("mount", ["-o", "remount,ro", folder]);
			await expect(journalRun(folder, 8, "sampled")).rejects.toThrow(/journal\.jsonl: can't be locked: EROFS/);
		} finally {
			await run("umount", [folder]);
		}
	});
});
