import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { keyOf } from "../../src/dataset/key-of.js";
import { loadDataset } from "../../src/dataset/load-dataset.js";
import { DatasetError, type RowProblem } from "../../src/files/dataset-error.js";
import { collect, hpdv3Folder, pairs, temporaryFolder } from "./hpdv3-folder.js";

const FIXTURES = resolve("test/fixtures/hpdv3");
const row = { prompt: "p", path1: "a.png", path2: "b.png" };

describe("what a record is", () => {
	it("carries HPDv3's fields, images absolute, nulls left out", async () => {
		const file = join(FIXTURES, "pairs.json");
		const [first, second, ...rest] = await collect(loadDataset(`hpdv3:${file}`, { order: "stored" }));
		expect(first).toEqual({
			key: keyOf({ prompt: "two red circles", paths: ["images/two-red-circles.png", "images/one-red-circle.jpg"], preferred: 0 }),
			prompt: "two red circles",
			images: [join(FIXTURES, "images/two-red-circles.png"), join(FIXTURES, "images/one-red-circle.jpg")],
			preferred: 0,
			order: [0, 1],
			source: { name: "hpdv3", file, row: 0 },
			choiceDist: [9, 1],
			confidence: 0.93,
			model1: "real",
			model2: "sdxl",
		});
		expect(Object.keys(second)).not.toContain("choiceDist");
		expect(rest).toHaveLength(2);
	});

	it("is the same from JSON Lines as from an array, the file apart", async () => {
		const options = { order: "stored" } as const;
		const [array, lines] = await Promise.all(
			["pairs.json", "pairs.jsonl"].map((name) => collect(loadDataset(`hpdv3:${join(FIXTURES, name)}`, options))),
		);
		const withoutFile = (records: typeof array) => records.map(({ source, ...record }) => ({ ...record, row: source.row }));
		expect(withoutFile(lines)).toEqual(withoutFile(array));
	});

	it("has a key that depends on content alone", async () => {
		const one = await hpdv3Folder([{ ...row, prompt: "other" }, row]);
		const two = await hpdv3Folder(JSON.stringify({ ...row, model1: "flux" }));
		const [[, a], [b]] = await Promise.all([collect(loadDataset(one.source)), collect(loadDataset(two.source))]);
		expect(a.key).toBe(b.key);
		expect(a.key).toMatch(/^[0-9a-f]{16}$/);
		expect(keyOf({ prompt: "p", paths: ["b.png", "a.png"], preferred: 0 })).not.toBe(a.key);
		expect(keyOf({ prompt: "p", paths: ["a.png", "b.png"], preferred: 1 })).not.toBe(a.key);
	});
});

describe("reading", () => {
	it("takes a byte-order mark and white space before the data, and files in turn", async () => {
		const one = await hpdv3Folder(`\ufeff \n\t${JSON.stringify([row])}`);
		const two = await hpdv3Folder(`\ufeff\n\n${JSON.stringify(row)}\r\n\r\n${JSON.stringify(row)}`);
		const records = await collect(loadDataset([one.source, two.source], { duplicates: "keep" }));
		expect(records.map(({ source }) => [source.file, source.row])).toEqual([
			[one.file, 0],
			[two.file, 0],
			[two.file, 1],
		]);
	});

	it("gives the same records when iterated again", async () => {
		const { source } = await hpdv3Folder(pairs(20));
		const records = loadDataset(source, { shuffleBuffer: 5 });
		expect(await collect(records)).toEqual(await collect(records));
	});

	it.each([
		["an empty array", "[]", 0],
		["an empty array with a mark", "\ufeff[ ]", 0],
	])("takes %s", async (_, text, count) => {
		const { source } = await hpdv3Folder(text);
		expect(await collect(loadDataset(source))).toHaveLength(count);
	});

	it.each([
		["nothing", "", /got an empty file/],
		["white space", " \n", /got an empty file/],
		["something else", "prompt,path1\n", /expected a JSON array .* got "p"/],
		["an array cut off", '[{"prompt":"p","path1":"a.png","path2":"b.png"},{"prom', /broken in or after record 1/],
		[
			"an array whose quotes do not pair",
			'[{"prompt":"p","path1":"a.png","path2":"b.png"},{"prompt:"p"},{}]',
			/broken in or after record 1/,
		],
		["an array and more", "[] x", /broken in or after record 0/],
	])("refuses %s", async (_, text, message) => {
		const { source, file } = await hpdv3Folder(text);
		const failure = await collect(loadDataset(source, { onBadRow: () => undefined })).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(DatasetError);
		expect(failure).toMatchObject({ file, message: expect.stringMatching(message) });
	});

	it("refuses bytes that are not UTF-8 for their row alone", async () => {
		const good = Buffer.from(JSON.stringify(row));
		const bad = Buffer.from(JSON.stringify({ ...row, prompt: "caf\u00e9" }), "latin1");
		for (const [open, between, close] of ["[,]", ["", "\n", ""]]) {
			const parts = [open, bad, between, good, close].map((part) => Buffer.from(part as string));
			const problems: RowProblem[] = [];
			const { source } = await hpdv3Folder(Buffer.concat(parts));
			expect(await collect(loadDataset(source, { onBadRow: (problem) => problems.push(problem) }))).toHaveLength(1);
			expect(problems).toMatchObject([{ row: 0, field: "", kind: "not-utf8", expected: "UTF-8" }]);
		}
	});

	it("refuses an array's element that is no JSON, and goes on with the next", async () => {
		const good = JSON.stringify(row);
		const problems: RowProblem[] = [];
		const broken = [`${good} {}`, `{"prompt":"p","path1":"a.png","path2":"b.png","confidence":NaN}`, "", "{'prompt':1}", '{"prompt":"p",}'];
		const { source } = await hpdv3Folder(`[${broken.join(",")},${good}]`);
		const records = await collect(loadDataset(source, { onBadRow: (problem) => problems.push(problem) }));
		expect(records.map((record) => record.source.row)).toEqual([broken.length]);
		expect(problems.map(({ row, kind }) => [row, kind])).toEqual(broken.map((_, i) => [i, i === 1 ? "not-finite" : "not-json"]));
	});

	it("fails on a missing file before the first record of the others", async () => {
		const { source, folder } = await hpdv3Folder(pairs(2));
		const records = loadDataset([source, `hpdv3:${join(folder, "none.json")}`])[Symbol.asyncIterator]();
		await expect(records.next()).rejects.toThrow(/none\.json: can't be opened: ENOENT/);
	});

	it("reads a large array in little memory", async () => {
		const text = JSON.stringify({ ...row, prompt: "many words ".repeat(400) });
		const { source } = await hpdv3Folder(`[${Array.from({ length: 5000 }, () => text).join(",\n")}]`); // 22 MB
		setFlagsFromString("--expose-gc");
		const collectGarbage: () => void = runInNewContext("gc");
		collectGarbage();
		const before = process.memoryUsage();
		let [count, heap] = [0, 0];
		for await (const record of loadDataset(source, { duplicates: "keep" })) {
			if (record.prompt.length > 0 && ++count % 500 === 0) {
				collectGarbage();
				heap = Math.max(heap, process.memoryUsage().heapUsed - before.heapUsed);
			}
		}
		expect(count).toBe(5000);
		expect(heap).toBeLessThan(4e6);
	});
});

describe("bad rows", () => {
	it("are each told with file, row, field, expected and got; the rest goes on", async () => {
		const file = join(FIXTURES, "bad-rows.jsonl");
		const problems: RowProblem[] = [];
		const records = await collect(loadDataset(`hpdv3:${file}`, { onBadRow: (problem) => problems.push(problem) }));
		expect(records.map((record) => record.source.row)).toEqual([0, 8]);
		expect(problems.map(({ row, field, expected, got }) => [row, field, expected, got])).toEqual([
			[1, "prompt", "string", "number 7"],
			[2, "path2", "string", "nothing"],
			[3, "path2", "an image file", expect.stringMatching(/^no file at ".*lost\.png"$/)],
			[4, "path1", `a path inside ${FIXTURES}`, "../../../package.json"],
			[5, "choice_dist.1", "number", 'string "x"'],
			[6, "", "one JSON object", expect.stringContaining("torn")],
			[7, "", "object", 'array ["not","an object"]'],
		]);
		expect(problems.every((problem) => problem.file === file)).toBe(true);
	});

	it("throw without onBadRow, with the same facts", async () => {
		const { source, file } = await hpdv3Folder([row, { ...row, confidence: 3 }]);
		const failure = await collect(loadDataset(source)).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(DatasetError);
		expect(failure).toMatchObject({
			message: `record 1 of ${file}: field confidence: expected number to be <=1, got number 3; correct the row, or give onBadRow to go on without such rows`,
			problem: { file, row: 1, field: "confidence" },
		});
	});

	it("are paths that leave the image root, by name, absolutely, or by a link", async () => {
		const outside = await temporaryFolder();
		await writeFile(join(outside, "secret.png"), "secret");
		const { source, folder } = await hpdv3Folder([
			{ ...row, path1: "../secret.png" },
			{ ...row, path1: join(outside, "secret.png") },
			{ ...row, path1: "link.png" },
			{ ...row, path1: "folder-link/secret.png" },
			{ ...row, path1: "." },
			{ ...row, path1: "sub" },
			{ ...row, path1: "a\0.png" },
			{ ...row, path1: "sub/../a.png" },
			{ ...row, path1: join((await hpdv3Folder([])).folder, "..") },
		]);
		await symlink(join(outside, "secret.png"), join(folder, "link.png"));
		await symlink(outside, join(folder, "folder-link"));
		await mkdir(join(folder, "sub"));
		const bad: number[] = [];
		const records = await collect(loadDataset(source, { onBadRow: (problem) => bad.push(problem.row) }));
		expect(bad).toEqual([0, 1, 2, 3, 4, 5, 6, 8]);
		expect(records.map((record) => record.images[0])).toEqual([join(folder, "a.png")]);
	});

	it("are links that lead out in several steps, however often their folders were met before", async () => {
		const outside = await temporaryFolder();
		await writeFile(join(outside, "secret.png"), "secret");
		const good = ["sub/inner.png", "again/a.png"];
		const bad = ["sub/out.png", "sub/chain.png", "out/secret.png", "again/out/secret.png", "sub/up/../a.png/../chain.png"];
		const rows = Array.from({ length: 20 }, () => [...good, ...bad]).flat();
		const { source, folder } = await hpdv3Folder(rows.map((path1, i) => ({ ...row, prompt: `${i}`, path1 })));
		await mkdir(join(folder, "sub"));
		await symlink("../a.png", join(folder, "sub", "inner.png"));
		await symlink("chain.png", join(folder, "sub", "out.png"));
		await symlink(join(outside, "secret.png"), join(folder, "sub", "chain.png"));
		await symlink(folder, join(folder, "again"));
		await symlink(outside, join(folder, "out"));
		const refused: [number, string][] = [];
		const records = await collect(loadDataset(source, { onBadRow: ({ row, kind }) => refused.push([row, kind]) }));
		expect(records.map(({ source: { row } }) => rows[row])).toEqual(rows.filter((path) => good.includes(path)));
		expect(refused).toEqual(rows.flatMap((path, i) => (bad.includes(path) ? [[i, "outside-root"]] : [])));
	});

	it("are not absolute paths inside the root, nor links inside it, nor a root that is itself a link", async () => {
		const { file, folder } = await hpdv3Folder([]);
		await symlink(join(folder, "a.png"), join(folder, "inner.png"));
		const root = join(await temporaryFolder(), "root");
		await symlink(folder, root);
		await writeFile(file, JSON.stringify([{ ...row, path1: join(root, "a.png"), path2: "inner.png" }]));
		const [record] = await collect(loadDataset(`hpdv3:${file}`, { imageRoot: root }));
		expect(record.images).toEqual([join(root, "a.png"), join(root, "inner.png")]);
	});

	it("has no rows at all where the image root is missing", async () => {
		const { source } = await hpdv3Folder(pairs(1));
		await expect(collect(loadDataset(source, { imageRoot: "/no/such/folder" }))).rejects.toThrow(
			/image root \/no\/such\/folder.*give imageRoot/,
		);
	});
});

describe("order, shuffle and limit", () => {
	it("both shows each record once each way, side by side", async () => {
		const { source } = await hpdv3Folder(pairs(3));
		const records = await collect(loadDataset(source, { order: "both", limit: 2, shuffleBuffer: 3 }));
		expect(records.map((record) => record.order)).toEqual([
			[0, 1],
			[1, 0],
			[0, 1],
			[1, 0],
		]);
		expect(records[0].key).toBe(records[1].key);
		expect(records[2].key).not.toBe(records[0].key);
	});

	it("random depends on seed and key, not on place, and is even", async () => {
		const rows = pairs(400);
		const forwards = await hpdv3Folder(rows);
		const backwards = await hpdv3Folder([...rows].reverse());
		const orders = async (source: string, seed: number) =>
			Object.fromEntries((await collect(loadDataset(source, { seed }))).map((record) => [record.key, record.order[0]]));
		const first = await orders(forwards.source, 1);
		expect(await orders(backwards.source, 1)).toEqual(first);
		expect(await orders(forwards.source, 2)).not.toEqual(first);
		const swapped = Object.values(first).filter((shown) => shown === 1).length;
		expect(swapped).toBeGreaterThan(150); // 400 fair coins: 200 ± 10
		expect(swapped).toBeLessThan(250);
	});

	it("shuffles by the seed, keeps every record, and moves none forward past the buffer", async () => {
		const { source } = await hpdv3Folder(pairs(100));
		const rows = async (options: object) => (await collect(loadDataset(source, options))).map((record) => record.source.row);
		const inOrder = await rows({});
		const shuffled = await rows({ shuffleBuffer: 10, seed: 3 });
		expect(shuffled).not.toEqual(inOrder);
		expect([...shuffled].sort((a, b) => a - b)).toEqual(inOrder);
		expect(await rows({ shuffleBuffer: 10, seed: 3 })).toEqual(shuffled);
		expect(await rows({ shuffleBuffer: 10, seed: 4 })).not.toEqual(shuffled);
		for (const [place, row] of shuffled.entries()) expect(row - place).toBeLessThan(10);
		expect(await rows({ shuffleBuffer: 10, seed: 3, limit: 7 })).toEqual(shuffled.slice(0, 7));
	});

	it("stops reading at the limit", async () => {
		const { source } = await hpdv3Folder([row, row, { broken: true }]);
		expect(await collect(loadDataset(source, { limit: 2, duplicates: "keep" }))).toHaveLength(2);
		expect(await collect(loadDataset(source, { limit: 0 }))).toHaveLength(0);
	});
});

describe("arguments", () => {
	it.each([
		["pairs.json", /expected "schema:path" with one of the schemas hpdv3, .*pairs, got no schema/],
		["imagenet:pairs.json", /one of the schemas hpdv3, .*pairs, got imagenet/],
		["toString:pairs.json", /got toString/],
		["hpdv3:", /expected a path after "hpdv3:"/],
	])("refuses the source %s at once", (source, message) => {
		expect(() => loadDataset(source)).toThrow(message);
	});

	it("refuses options out of range at once", () => {
		expect(() => loadDataset([])).toThrow(/at least one source/);
		expect(() => loadDataset("hpdv3:x", { limit: -1 })).toThrow(/limit: expected a whole number, 0 or more, got -1/);
		expect(() => loadDataset("hpdv3:x", { shuffleBuffer: 0.5 })).toThrow(/shuffleBuffer/);
		expect(() => loadDataset("hpdv3:x", { seed: Number.NaN })).toThrow(/seed/);
		expect(() => loadDataset("hpdv3:x", { order: JSON.parse('"up"') })).toThrow(/order: expected stored, random or both, got "up"/);
	});
});
