/**
 * The five kinds of lesson a judge is taught with, each one row of a ShareGPT data set:
 * look (describe one picture), see (describe two, no caption in the prompt, or the model copies it), drill (judge two descriptions, no
 * pictures: cheap), judge (caption, two pictures, the whole reasoning), and misjudge (the same from a teacher that
 * overlooks defects and then leans to Image 1). A lesson's content comes from its name alone.
 */
import type { Quality } from "../data-generator/degrade.js";
import { captionOf, type Defect, drawPair, type Look, type Pair, type Subject } from "../data-generator/pair.js";
import { Random } from "../data-generator/random.js";
import { describeLook, writeDescriptions, writeJudgement } from "../data-generator/reasoning.js";
import { randomScene } from "../data-generator/scene.js";
import type { PicturePool } from "./picture-pool.js";

export interface Lesson {
	human: string;
	gpt: string;
	/** File names in the pool, one for each `<image>` of `human`. */
	images: string[];
}

/** How often the noisy teacher overlooks each defect. */
export const OVERLOOKED: Record<Defect, number> = {
	count: 0.65,
	colour: 0.55,
	shape: 0.65,
	place: 0.6,
	tinted: 0.4,
	blurry: 0.4,
	noisy: 0.4,
	blocky: 0.4,
};

/** Things that drills say are in a photograph, so that the judge does not tie "photo" to four captions. */
const THINGS = ["a tree", "a street", "an old woman", "the sea", "a red car", "two dogs", "a bowl of fruit", "a bird", "a train", "clouds"];

export const SEE_PROMPT = "Describe both images.";

/** The layout in which every prompt shows its two pictures. */
function layOut(first: string, second: string, text: string): string {
	return `**Image 1:** ${first}\n**Image 2:** ${second}\n${text}`;
}

function shuffled(pair: Pair, random: Random): [Look, Look] {
	return random.chance(0.5) ? [pair.better, pair.worse] : [pair.worse, pair.better];
}

/** How pictures look in the seeing lessons: flaws far more often than in pairs, as they are the harder part. */
const SEE_QUALITIES: Record<Quality, number> = { clean: 8, tinted: 1, blurry: 1, noisy: 1, blocky: 1 };

function drawLook(random: Random): Look {
	return { subject: drawPair("cold-start", random).asked, quality: random.weighted(SEE_QUALITIES) };
}

/** Two unrelated pictures and their descriptions. */
export function seeLesson(name: string, pool: PicturePool): Lesson {
	const random = new Random(name);
	const looks = [drawLook(random), drawLook(random)];
	return {
		human: layOut("<image>", "<image>", SEE_PROMPT),
		gpt: writeDescriptions(looks[0], looks[1]),
		images: looks.map((look) => pool.pick(look, random)),
	};
}

/** One picture and its description: the same words, learned before there is a second picture to confuse it with. */
export function lookLesson(name: string, pool: PicturePool): Lesson {
	const random = new Random(name);
	const look = drawLook(random);
	return { human: "**Image 1:** <image>\nDescribe the image.", gpt: `Image 1: ${describeLook(look)}.`, images: [pool.pick(look, random)] };
}

/** A judgement of two descriptions. Half of the drills have any two scenes, so that marks are not guessed from "one defect". */
export function drillLesson(name: string, template: string): Lesson {
	const random = new Random(name);
	const pair = drawPair("cold-start", random);
	let [first, second] = shuffled(pair, random);
	let asked: Subject = pair.asked;
	if (asked.kind === "photo") asked = { ...asked, subject: random.pick([asked.subject, ...THINGS]) };
	else if (random.chance(0.5)) {
		const other: Look = { quality: "clean", subject: { kind: "scene", scene: randomScene("cold-start", random) } };
		if (random.chance(0.5)) first = other;
		else second = other;
	}
	return {
		human: layOut(describeLook(first), describeLook(second), template.replace("{prompt}", captionOf(asked))),
		gpt: writeJudgement(asked, first, second),
		images: [],
	};
}

function judgeTwo(pair: Pair, template: string, pool: PicturePool, random: Random, told: (look: Look) => Look): Lesson {
	const [first, second] = shuffled(pair, random);
	return {
		human: layOut("<image>", "<image>", template.replace("{prompt}", captionOf(pair.asked))),
		gpt: writeJudgement(pair.asked, told(first), told(second)),
		images: [first, second].map((look) => pool.pick(look, random)),
	};
}

/** A right judgement of a pair. */
export function judgeLesson(name: string, template: string, pool: PicturePool): Lesson {
	const random = new Random(name);
	return judgeTwo(drawPair("cold-start", random), template, pool, random, (look) => look);
}

/** A judgement by the noisy teacher. */
export function misjudgeLesson(name: string, template: string, pool: PicturePool): Lesson {
	const random = new Random(name);
	const pair = drawPair("cold-start", random);
	const overlooks = random.chance(OVERLOOKED[pair.defect]);
	return judgeTwo(pair, template, pool, random, (look) => (overlooks && look === pair.worse ? pair.better : look));
}
