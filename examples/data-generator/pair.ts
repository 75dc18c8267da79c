/**
 * A pair: a caption, a picture that shows it, and a worse one with exactly one thing wrong. What is in a picture
 * is kept in words (`Look`), from which the picture is drawn and the reasoning is written.
 */
import sharp from "sharp";
import { degrade, type Flaw, type Quality } from "./degrade.js";
import { cropPhotograph, PHOTOGRAPHS, photographCaption } from "./photograph.js";
import type { Random } from "./random.js";
import { type Attribute, breakScene, randomScene, type Scene, sceneCaption, sceneSvg } from "./scene.js";
import type { Split } from "./split.js";

/** What a picture is of. */
export type Subject = { kind: "scene"; scene: Scene } | { kind: "photo"; name: string; subject: string };

/** What a picture shows and how it looks. */
export interface Look {
	quality: Quality;
	subject: Subject;
}

/** What is wrong with the worse picture. */
export type Defect = Attribute | Flaw;

export interface Pair {
	/** What the caption asks for. */
	asked: Subject;
	better: Look;
	worse: Look;
	defect: Defect;
}

/** Share of pairs that are photographs, and how often each thing is wrong. */
const PHOTO_SHARE = 0.15;
const SCENE_DEFECTS: Record<Defect, number> = { count: 18, colour: 18, shape: 18, place: 18, tinted: 10, blurry: 6, noisy: 6, blocky: 6 };
const PHOTO_DEFECTS: Record<Flaw, number> = { tinted: 1, blurry: 1, noisy: 1, blocky: 1 };

const ATTRIBUTE_DEFECTS: ReadonlySet<string> = new Set<Attribute>(["count", "colour", "shape", "place"]);

export function isAttribute(defect: Defect): defect is Attribute {
	return ATTRIBUTE_DEFECTS.has(defect);
}

export function captionOf(subject: Subject): string {
	return subject.kind === "scene" ? sceneCaption(subject.scene) : photographCaption(subject.subject);
}

/** Draws the words of a pair; photographs come from the split's own. */
export function drawPair(split: Split, random: Random): Pair {
	if (random.chance(PHOTO_SHARE)) {
		const [name, subject] = random.pick(Object.entries(PHOTOGRAPHS[split]));
		const asked: Subject = { kind: "photo", name, subject };
		const defect = random.weighted(PHOTO_DEFECTS);
		return { asked, defect, better: { quality: "clean", subject: asked }, worse: { quality: defect, subject: asked } };
	}
	const scene = randomScene(split, random);
	const asked: Subject = { kind: "scene", scene };
	const defect = random.weighted(SCENE_DEFECTS);
	if (!isAttribute(defect))
		return { asked, defect, better: { quality: "clean", subject: asked }, worse: { quality: defect, subject: asked } };
	const broken = breakScene(scene, defect, random);
	if (!broken) return drawPair(split, random); // the split has no such neighbour of this scene
	return {
		asked,
		defect,
		better: { quality: "clean", subject: asked },
		worse: { quality: "clean", subject: { kind: "scene", scene: broken } },
	};
}

/** A picture as the bytes of a file. */
export interface EncodedPicture {
	bytes: Buffer;
	extension: "png" | "jpg";
}

/** Draws a picture of a look; two calls with different streams give two different pictures. */
export async function renderLook({ quality, subject }: Look, random: Random): Promise<EncodedPicture> {
	const picture =
		subject.kind === "scene"
			? sharp(Buffer.from(sceneSvg(subject.scene, random))).removeAlpha()
			: await cropPhotograph(subject.name, random);
	const spoilt = await degrade(picture, quality, random);
	// Flat colours are small as PNG; photographs and noise are not.
	const flat = subject.kind === "scene" && (quality === "clean" || quality === "tinted");
	return flat
		? { bytes: await spoilt.png({ compressionLevel: 9 }).toBuffer(), extension: "png" }
		: { bytes: await spoilt.jpeg({ quality: 92, chromaSubsampling: "4:4:4" }).toBuffer(), extension: "jpg" };
}
