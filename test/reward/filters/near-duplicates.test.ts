import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decontaminate } from "../../../src/reward/filters/decontaminate.js";
import { areAlike, hashDistance, ImageHashIndex, imageHash } from "../../../src/reward/filters/image-hash.js";
import { shinglesOf, signatureOf, similarity } from "../../../src/reward/filters/min-hash-index.js";
import { nearDuplicateImages } from "../../../src/reward/filters/near-duplicate-images.js";
import { nearDuplicatePrompts } from "../../../src/reward/filters/near-duplicate-prompts.js";
import type { Rollout } from "../../../src/sampler/rollout.js";
import { judgement, record } from "../../sampler/records.js";
import { rollout } from "../rollouts.js";
import { sift } from "./sift.js";

let folder: string;
/** A smooth random picture; the same seed gives the same one. */
async function picture(name: string, seed: number, change: (image: Sharp) => Sharp = (image) => image): Promise<string> {
	const pixels = Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => Math.abs(Math.sin((i + 1) * (seed + 1) * 12.9898) * 43758.5453) % 256);
	const smooth = await sharp(pixels, { raw: { width: 8, height: 8, channels: 3 } })
		.resize(96, 96, { kernel: "cubic" })
		.png()
		.toBuffer();
	const file = join(folder, name);
	await change(sharp(smooth)).toFile(file);
	return file;
}

let [a, b, aAgain, bAgain, c, broken] = ["", "", "", "", "", ""];
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-duplicates-"));
	[a, b, c] = [await picture("a.png", 1), await picture("b.png", 2), await picture("c.png", 3)];
	aAgain = await picture("a.jpg", 1, (image) => image.resize(60, 80, { fit: "fill" }).jpeg({ quality: 70 }));
	bAgain = await picture("b.webp", 2, (image) => image.modulate({ brightness: 1.1 }).webp({ quality: 80 }));
	broken = join(folder, "broken.png");
	await writeFile(broken, "no picture");
});
afterAll(() => rm(folder, { recursive: true }));

const showing = (row: number, images: [string, string], prompt = `caption ${row}`): Rollout =>
	rollout(row, judgement(1), { record: record(row, { images, prompt }) });

describe("imageHash", () => {
	it("of a falling ramp is all ones, of a rising one and of a flat picture all zeros", async () => {
		const ramp = (value: (x: number) => number) =>
			sharp(
				Uint8Array.from({ length: 90 * 8 }, (_, i) => value(i % 90)),
				{ raw: { width: 90, height: 8, channels: 1 } },
			);
		const files = ["falling.png", "rising.png", "flat.png"].map((name) => join(folder, name));
		await Promise.all([ramp((x) => 250 - 2 * x), ramp((x) => 2 * x), ramp(() => 7)].map((image, i) => image.toFile(files[i])));
		const [falling, rising, flat] = await Promise.all(files.map(imageHash));
		expect([falling, rising, flat].map(({ bits }) => bits)).toEqual([
			[0xffffffff, 0xffffffff],
			[0, 0],
			[0, 0],
		]);
		expect(hashDistance(falling, rising)).toBe(64);
	});

	it("survives scaling, recompression and brightness, and tells pictures apart", async () => {
		const [one, again, two, twoAgain] = await Promise.all([a, aAgain, b, bAgain].map(imageHash));
		expect(hashDistance(one, again)).toBeLessThanOrEqual(2);
		expect(hashDistance(two, twoAgain)).toBeLessThanOrEqual(2);
		expect(hashDistance(one, two)).toBeGreaterThan(15);
	});

	it("is not fooled by drawings of other colours, or of other things on a plain ground", async () => {
		const draw = async (name: string, shape: string) => {
			const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><rect width="96" height="96" fill="white"/>${shape}</svg>`;
			await sharp(Buffer.from(svg)).png().toFile(join(folder, name));
			return imageHash(join(folder, name));
		};
		const red = await draw("red.png", '<circle cx="30" cy="40" r="16" fill="#c22"/>');
		const blue = await draw("blue.png", '<circle cx="30" cy="40" r="16" fill="#22c"/>');
		const lower = await draw("lower.png", '<circle cx="30" cy="70" r="16" fill="#c22"/>');
		expect([areAlike(red, red, 0), areAlike(red, blue, 15), areAlike(red, lower, 15)]).toEqual([true, false, false]);
		expect([areAlike(await imageHash(a), await imageHash(aAgain), 2), areAlike(await imageHash(b), await imageHash(bAgain), 2)]).toEqual([
			true,
			true,
		]);
	});

	it("is found in the index exactly where a comparison with all finds it", () => {
		const random = (i: number) => Math.floor(Math.abs(Math.sin(i * 78.233) * 43758.5453) * 2 ** 32) >>> 0;
		const hashes = Array.from({ length: 200 }, (_, i) => ({
			bits: [random(i >> 2), (random(i) & random(i + 999) & random(i + 77)) >>> 0] as const,
			colours: Uint8Array.from({ length: 48 }, (_, field) => (field === i % 3 ? 40 * (i % 5) : 0)),
		}));
		for (const distance of [0, 3, 7, 15]) {
			const index = new ImageHashIndex(distance);
			for (const hash of hashes) index.add(hash);
			for (const hash of hashes.slice(0, 40)) {
				const all = hashes.flatMap((other, i) => (areAlike(hash, other, distance) ? [i] : []));
				expect([...index.near(hash)].sort((x, y) => x - y)).toEqual(all);
			}
		}
		expect(() => new ImageHashIndex(16)).toThrow(/from 0 to 15, got 16/);
	});
});

describe("nearDuplicateImages", () => {
	it("keeps the first of pairs that show the same, in either order", async () => {
		const pairs = [showing(0, [a, b]), showing(1, [bAgain, aAgain]), showing(2, [a, c]), showing(3, [aAgain, b])];
		const { fates, reasons } = await sift(pairs, [nearDuplicateImages()]);
		expect(fates).toEqual(["kept", "near-duplicate-images", "kept", "near-duplicate-images"]);
		expect(reasons[1]).toBe("shows what record key-0 shows");
	});

	it("or leaves out a pair with any image that was shown before", async () => {
		const { fates } = await sift([showing(0, [a, b]), showing(2, [c, aAgain])], [nearDuplicateImages({ match: "any" })]);
		expect(fates).toEqual(["kept", "near-duplicate-images"]);
	});

	it("turns away, and says so, what it can't read", async () => {
		const { reasons } = await sift([showing(0, [a, broken])], [nearDuplicateImages()]);
		expect(reasons[0]).toMatch(/^its images can't be compared: /);
	});
});

describe("MinHash", () => {
	it.each([
		["two red circles on the left", "two red circles on the right"],
		["a cat sleeps on a warm red sofa in the evening sun", "a cat sleeps on a warm blue sofa in the evening sun"],
		["one thing", "quite another matter"],
		["a photo of a dog, a cat and a bird in a garden full of flowers", "A photo of a dog, a cat and a bird in a garden full of flowers!"],
		["红色的圆形和蓝色的三角形在左边", "红色的圆形和绿色的三角形在左边"],
	])("estimates the Jaccard similarity of %j and %j", (one, two) => {
		const [s, t] = [shinglesOf(one), shinglesOf(two)];
		const both = [...s].filter((shingle) => t.has(shingle)).length;
		const exact = both / (s.size + t.size - both);
		// Three standard errors of 128 draws.
		expect(Math.abs(similarity(signatureOf(one), signatureOf(two)) - exact)).toBeLessThanOrEqual(
			3 * Math.sqrt((exact * (1 - exact)) / 128) + 1e-9,
		);
	});

	it("leaves out captions that say the same, beyond so many", async () => {
		const captions = ["Two red circles, on the left.", "two red circles on the left", "two red circles on the LEFT!", "a dog in the snow"];
		const pairs = captions.map((caption, row) => showing(row, [a, b], caption));
		expect((await sift(pairs, [nearDuplicatePrompts()])).fates).toEqual([
			"kept",
			"near-duplicate-prompts",
			"near-duplicate-prompts",
			"kept",
		]);
		expect((await sift(pairs, [nearDuplicatePrompts({ max: 2 })])).fates).toEqual(["kept", "kept", "near-duplicate-prompts", "kept"]);
	});
});

describe("decontaminate", () => {
	it("leaves out records with a caption or an image of the evaluation set", async () => {
		const filter = await decontaminate([{ prompt: "two red circles on the left", images: [b, b] }]);
		const pairs = [showing(0, [a, c], "Two red circles on the left!"), showing(1, [bAgain, c]), showing(2, [a, c])];
		const { fates, reasons, records } = await sift(pairs, [filter]);
		expect(fates).toEqual(["decontaminate", "decontaminate", "kept"]);
		expect(reasons.slice(0, 2)).toEqual(["its caption is in the evaluation set", "an image of it is in the evaluation set"]);
		expect(records[1].excludedBy).toBe("decontaminate");
	});

	it("compares what it is asked to", async () => {
		const evaluation = [{ prompt: "two red circles on the left", images: [b, b] as const }];
		const pairs = [showing(0, [a, c], "two red circles on the left"), showing(1, [bAgain, c])];
		expect((await sift(pairs, [await decontaminate(evaluation, { imageDistance: false })])).fates).toEqual(["decontaminate", "kept"]);
		expect((await sift(pairs, [await decontaminate(evaluation, { promptSimilarity: false })])).fates).toEqual(["kept", "decontaminate"]);
	});

	it("stops for an evaluation image that can't be read", async () => {
		await expect(decontaminate([{ prompt: "p", images: [broken, b] }])).rejects.toThrow(
			/evaluation record "p": its images can't be compared/,
		);
	});
});
