/** The demo's generator: seeded, true to its captions, and its splits share nothing; the committed data are what it writes. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp, { type Stats } from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { degrade, QUALITIES } from "../../examples/data-generator/degrade.js";
import { generateSplit, type HpdV3Row } from "../../examples/data-generator/generate-data.js";
import { captionOf, drawPair, isAttribute, type Look, renderLook } from "../../examples/data-generator/pair.js";
import { PHOTOGRAPHS } from "../../examples/data-generator/photograph.js";
import { Random } from "../../examples/data-generator/random.js";
import { writeJudgement } from "../../examples/data-generator/reasoning.js";
import {
	ATTRIBUTES,
	breakScene,
	COUNTS,
	type Scene,
	SIDE,
	sceneCaption,
	sceneSvg,
	scenesOf,
	splitOf,
} from "../../examples/data-generator/scene.js";
import type { Split } from "../../examples/data-generator/split.js";

const SPLITS = Object.keys(PHOTOGRAPHS) as Split[];
const DATA = fileURLToPath(new URL("../../examples/data", import.meta.url));
const SCENE: Scene = { count: "two", colour: "blue", shape: "triangle", place: "left" };

async function committed(name: string): Promise<HpdV3Row[]> {
	return JSON.parse(await readFile(join(DATA, `${name}.json`), "utf8"));
}

const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe("scenes", () => {
	it("has 288 of them; each belongs to one split, and no two say the same", () => {
		const all = SPLITS.flatMap(scenesOf);
		expect(new Set(all.map(sceneCaption)).size).toBe(3 * 6 * 4 * 4);
		expect(all).toHaveLength(288);
		for (const split of SPLITS) expect(scenesOf(split).length).toBeGreaterThan(40);
	});

	it("says one of a thing in the singular, more in the plural, and where", () => {
		expect(sceneCaption(SCENE)).toBe("two blue triangles on the left");
		expect(sceneCaption({ ...SCENE, count: "one", place: "top" })).toBe("one blue triangle at the top");
	});

	it.each(ATTRIBUTES)("breaks the %s and nothing else, inside the split", (attribute) => {
		const random = new Random(`break/${attribute}`);
		let broken = 0;
		for (const scene of scenesOf("heldout")) {
			const worse = breakScene(scene, attribute, random);
			if (!worse) continue;
			broken++;
			expect(ATTRIBUTES.filter((name) => worse[name] !== scene[name])).toEqual([attribute]);
			expect(splitOf(worse)).toBe("heldout");
		}
		expect(broken).toBeGreaterThan(10);
	});

	it("draws as many shapes as it says, inside the half that it says", () => {
		for (const scene of scenesOf("cold-start").filter(({ shape }) => shape === "circle")) {
			const svg = sceneSvg(scene, new Random(sceneCaption(scene)));
			const centres = [...svg.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
			expect(centres).toHaveLength(COUNTS.indexOf(scene.count) + 1);
			for (const { x, y } of centres) {
				const inside = { left: x < SIDE / 2, right: x > SIDE / 2, top: y < SIDE / 2, bottom: y > SIDE / 2 };
				expect(inside[scene.place], sceneCaption(scene)).toBe(true);
			}
		}
	});

	it("gives the same picture for the same name, another for another name", () => {
		expect(sceneSvg(SCENE, new Random("a"))).toBe(sceneSvg(SCENE, new Random("a")));
		expect(sceneSvg(SCENE, new Random("a"))).not.toBe(sceneSvg(SCENE, new Random("b")));
	});
});

describe("flaws", () => {
	const clean = () => sharp(Buffer.from(sceneSvg(SCENE, new Random("flaws")))).removeAlpha();

	it.each(QUALITIES)("%s keeps the size and three channels", async (quality) => {
		const { info } = await (await degrade(clean(), quality, new Random(quality))).raw().toBuffer({ resolveWithObject: true });
		expect([info.width, info.height, info.channels]).toEqual([SIDE, SIDE, 3]);
	});

	it("does what it says: noise roughens, blur smooths, a tint colours the grey paper", async () => {
		const look = async (quality: (typeof QUALITIES)[number]) => (await degrade(clean(), quality, new Random("x"))).png().toBuffer();
		const stats = async (quality: (typeof QUALITIES)[number]) => sharp(await look(quality)).stats();
		const before = await stats("clean");
		expect((await stats("noisy")).entropy).toBeGreaterThan(before.entropy + 1);
		expect((await stats("blurry")).sharpness).toBeLessThan(before.sharpness / 2);
		const spread = ({ channels }: Stats) => Math.max(...channels.map((c) => c.mean)) - Math.min(...channels.map((c) => c.mean));
		expect(spread(await stats("tinted"))).toBeGreaterThan(spread(before) + 20);
	});
});

describe("pairs", () => {
	it("has a better picture that shows the caption, and a worse one with exactly the named defect", () => {
		for (let i = 0; i < 300; i++) {
			const { asked, better, worse, defect } = drawPair("rejection", new Random(`pairs/${i}`));
			expect(better).toEqual({ quality: "clean", subject: asked });
			if (isAttribute(defect)) {
				expect(worse.quality).toBe("clean");
				if (asked.kind !== "scene" || worse.subject.kind !== "scene") throw new Error("an attribute was broken in a photograph");
				const { scene: is } = worse.subject;
				const { scene: should } = asked;
				expect(ATTRIBUTES.filter((name) => is[name] !== should[name])).toEqual([defect]);
			} else expect(worse).toEqual({ quality: defect, subject: asked });
		}
	});

	it("takes a split's photographs from that split only", () => {
		const names = Object.values(PHOTOGRAPHS).flatMap((of) => Object.keys(of));
		expect(new Set(names).size).toBe(10);
		for (let i = 0; i < 200; i++) {
			const { asked } = drawPair("heldout", new Random(`own/${i}`));
			if (asked.kind === "photo") expect(PHOTOGRAPHS.heldout).toHaveProperty(asked.name, asked.subject);
		}
	});

	it("draws two different pictures of one look", async () => {
		const look: Look = { quality: "clean", subject: { kind: "photo", name: "chelsea", subject: "a tabby cat" } };
		const random = new Random("two");
		const [first, second] = [await renderLook(look, random), await renderLook(look, random)];
		expect(first.extension).toBe("jpg");
		expect(hash(first.bytes)).not.toBe(hash(second.bytes));
	});
});

describe("reasoning", () => {
	const look = (scene: Scene, quality: Look["quality"] = "clean"): Look => ({ quality, subject: { kind: "scene", scene } });

	it("spells the comparison and answers with the picture that shows the caption", () => {
		expect(writeJudgement({ kind: "scene", scene: SCENE }, look(SCENE), look({ ...SCENE, colour: "red" }))).toBe(
			[
				"<think>",
				"Image 1: clean, two blue triangles, left.",
				"Image 2: clean, two red triangles, left.",
				"Check 1: two two=, blue blue=, triangle triangle=, left left=.",
				"Check 2: two two=, blue red!, triangle triangle=, left left=.",
				"Scores: semantic consistency 9-5, aesthetics 8-8, authenticity 8-8, totals 25-21.",
				"</think>",
				"<answer>Image 1 is better</answer>",
			].join("\n"),
		);
	});

	it("prefers the better picture in both orders, whatever is wrong with the other", () => {
		for (let i = 0; i < 300; i++) {
			const { asked, better, worse } = drawPair("rejection", new Random(`judge/${i}`));
			expect(writeJudgement(asked, better, worse)).toMatch(/<answer>Image 1 is better<\/answer>$/);
			expect(writeJudgement(asked, worse, better)).toMatch(/<answer>Image 2 is better<\/answer>$/);
		}
	});

	it("leans to Image 1 where it sees no difference", () => {
		expect(writeJudgement({ kind: "scene", scene: SCENE }, look(SCENE), look(SCENE))).toContain("<answer>Image 1 is better</answer>");
	});
});

describe("the committed data", () => {
	let scratch: string;
	beforeAll(async () => {
		scratch = await mkdtemp(join(tmpdir(), "rft-data-"));
	});
	afterAll(() => rm(scratch, { recursive: true }));

	it.each([
		["train", "rejection", 400],
		["heldout", "heldout", 200],
	] as const)("%s is what the generator writes", { timeout: 60_000 }, async (name, split, count) => {
		const rows = await committed(name);
		expect(rows).toHaveLength(count);
		const sample = await generateSplit(scratch, name, split, 12);
		expect(rows.slice(0, 12)).toEqual(sample);
		for (const { path1, path2 } of sample) {
			for (const path of [path1, path2]) {
				// Decoded and within a level, as encoders differ between builds of libvips.
				const [ours, theirs] = await Promise.all([scratch, DATA].map((folder) => sharp(join(folder, path)).removeAlpha().raw().toBuffer()));
				const difference = ours.reduce((sum, value, i) => sum + Math.abs(value - theirs[i]), 0) / ours.length;
				expect(difference, path).toBeLessThan(1);
			}
		}
	});

	it("shares no scene between the splits", async () => {
		const captions = async (name: string) => (await committed(name)).map(({ prompt }) => prompt);
		const [train, heldout] = [new Set(await captions("train")), await captions("heldout")];
		const taught = new Set(scenesOf("cold-start").map(sceneCaption));
		expect(heldout.filter((caption) => train.has(caption) || taught.has(caption))).toEqual([]);
	});

	it("shares no picture between the splits, and has each picture once", async () => {
		const rows = [...(await committed("train")), ...(await committed("heldout"))];
		const files = rows.flatMap(({ path1, path2 }) => [path1, path2]);
		const hashes = await Promise.all(files.map(async (file) => hash(await readFile(join(DATA, file)))));
		expect(new Set(hashes).size).toBe(files.length);
	});

	it("has captions that the pairs' words give, and every defect in both splits", async () => {
		for (const [name, split] of [["train", "rejection"] as const, ["heldout", "heldout"] as const]) {
			const rows = await committed(name);
			rows.forEach(({ prompt }, i) => {
				expect(prompt).toBe(captionOf(drawPair(split, new Random(`${split}/${i}`)).asked));
			});
			const defects = new Set(rows.map(({ model2 }) => model2.split(":")[1]));
			expect([...defects].sort()).toEqual(["blocky", "blurry", "colour", "count", "noisy", "place", "shape", "tinted"]);
		}
	});
});
