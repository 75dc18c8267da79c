/**
 * A scene: one to three equal shapes of one colour along one side of an 84×84 picture, and the sentence that says so.
 * The words are the scene: two pictures of one scene differ in positions, sizes, shade and background, never in words.
 * A scene (its four words) belongs to one split, so that no caption and no content of a held-out pair is ever trained on.
 * Backgrounds are neutral grey with a fine texture, so that a colour cast and a blur can be seen at all.
 */
import { createHash } from "node:crypto";
import type { Random } from "./random.js";
import type { Split } from "./split.js";

export const COUNTS = ["one", "two", "three"] as const;
export const COLOURS = ["red", "orange", "yellow", "green", "blue", "purple"] as const;
export const SHAPES = ["circle", "square", "triangle", "star"] as const;
export const PLACES = ["left", "right", "top", "bottom"] as const;

export interface Scene {
	count: (typeof COUNTS)[number];
	colour: (typeof COLOURS)[number];
	shape: (typeof SHAPES)[number];
	place: (typeof PLACES)[number];
}

/** What a worse picture may have wrong, in the order in which the words are spoken. */
export const ATTRIBUTES = ["count", "colour", "shape", "place"] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

const WORDS: { [A in Attribute]: readonly Scene[A][] } = { count: COUNTS, colour: COLOURS, shape: SHAPES, place: PLACES };

/** Pixels a side; 6×6 patches of 14, merged to 3×3 image tokens. */
export const SIDE = 84;

/** The split that a scene belongs to: three fifths cold start, one fifth each rejection sampling and held-out. */
export function splitOf({ count, colour, shape, place }: Scene): Split {
	const fifth = createHash("sha256").update(`${count} ${colour} ${shape} ${place}`).digest().readUInt32LE(0) % 5;
	return fifth === 0 ? "heldout" : fifth === 1 ? "rejection" : "cold-start";
}

const ALL_SCENES: readonly Scene[] = COUNTS.flatMap((count) =>
	COLOURS.flatMap((colour) => SHAPES.flatMap((shape) => PLACES.map((place) => ({ count, colour, shape, place })))),
);

/** Each split's scenes, hashed once: a cold start asks a hundred thousand times. */
const SCENES_OF: Record<Split, readonly Scene[]> = {
	"cold-start": ALL_SCENES.filter((scene) => splitOf(scene) === "cold-start"),
	rejection: ALL_SCENES.filter((scene) => splitOf(scene) === "rejection"),
	heldout: ALL_SCENES.filter((scene) => splitOf(scene) === "heldout"),
};

/** Every scene of a split once; 288 in all. */
export function scenesOf(split: Split): readonly Scene[] {
	return SCENES_OF[split];
}

export function randomScene(split: Split, random: Random): Scene {
	return random.pick(scenesOf(split));
}

/** The same scene with another word for one attribute, of the same split; undefined where the split has none. */
export function breakScene(scene: Scene, attribute: Attribute, random: Random): Scene | undefined {
	const others = (WORDS[attribute] as readonly string[])
		.filter((word) => word !== scene[attribute])
		.map((word): Scene => ({ ...scene, [attribute]: word }))
		.filter((other) => splitOf(other) === splitOf(scene));
	return others.length > 0 ? random.pick(others) : undefined;
}

/** "triangle" for one, "triangles" for more. */
export function shapeWord({ count, shape }: Scene): string {
	return count === "one" ? shape : `${shape}s`;
}

/** "two blue triangles on the left" */
export function sceneCaption(scene: Scene): string {
	const preposition = scene.place === "left" || scene.place === "right" ? "on" : "at";
	return `${scene.count} ${scene.colour} ${shapeWord(scene)} ${preposition} the ${scene.place}`;
}

/** Hue in degrees, saturation and lightness in percent, far enough apart to be named. */
const HSL: Record<Scene["colour"], readonly [number, number, number]> = {
	red: [358, 85, 48],
	orange: [28, 95, 54],
	yellow: [55, 95, 52],
	green: [125, 65, 38],
	blue: [220, 80, 50],
	purple: [285, 60, 45],
};

interface Spot {
	x: number;
	y: number;
	radius: number;
}

/** A picture is 3×3 cells of this many pixels, one image token each. */
const CELL = SIDE / 3;
/** How far a shape's centre is from its cell's, at most. */
const JITTER = 2.5;

/** One cell each along the scene's side; a lone shape stands in the middle of it, or a corner would be on two sides. */
function placeShapes(scene: Scene, random: Random): Spot[] {
	const along = {
		one: [1],
		two: random.pick([
			[0, 1],
			[1, 2],
			[0, 2],
		]),
		three: [0, 1, 2],
	}[scene.count];
	const across = scene.place === "left" || scene.place === "top" ? 0 : 2;
	const vertical = scene.place === "left" || scene.place === "right";
	const centre = (cell: number) => (cell + 0.5) * CELL + random.between(-JITTER, JITTER);
	return along.map((cell) => ({
		x: centre(vertical ? across : cell),
		y: centre(vertical ? cell : across),
		radius: random.between(9.5, 11.5),
	}));
}

/** The corners of a regular polygon, every second one pulled in where `inner` < 1 (a star). */
function corners({ x, y, radius }: Spot, count: number, inner: number, turn: number): string {
	return Array.from({ length: count }, (_, i) => {
		const angle = turn + (2 * Math.PI * i) / count - Math.PI / 2;
		const reach = i % 2 === 1 ? radius * inner : radius;
		return `${(x + reach * Math.cos(angle)).toFixed(1)},${(y + reach * Math.sin(angle)).toFixed(1)}`;
	}).join(" ");
}

function shapeSvg(shape: Scene["shape"], spot: Spot, fill: string, turn: number): string {
	const polygon = (points: string) => `<polygon points="${points}" fill="${fill}"/>`;
	if (shape === "circle")
		return `<circle cx="${spot.x.toFixed(1)}" cy="${spot.y.toFixed(1)}" r="${(spot.radius * 0.92).toFixed(1)}" fill="${fill}"/>`;
	if (shape === "square") return polygon(corners(spot, 4, 1, Math.PI / 4 + turn));
	if (shape === "triangle") return polygon(corners({ ...spot, radius: spot.radius * 1.1 }, 3, 1, turn));
	return polygon(corners({ ...spot, radius: spot.radius * 1.15 }, 10, 0.42, turn));
}

/** A picture of the scene as SVG text; which picture, `random` decides. */
export function sceneSvg(scene: Scene, random: Random): string {
	const grey = random.between(42, 54);
	const [hue, saturation, lightness] = HSL[scene.colour];
	const fill = `hsl(${(hue + random.between(-4, 4)).toFixed(0)},${saturation}%,${(lightness + random.between(-4, 4)).toFixed(0)}%)`;
	const shapes = placeShapes(scene, random).map((spot) => shapeSvg(scene.shape, spot, fill, random.between(-0.12, 0.12)));
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}">`,
		'<defs><pattern id="paper" width="4" height="4" patternUnits="userSpaceOnUse">',
		`<rect width="4" height="4" fill="hsl(0,0%,${grey.toFixed(0)}%)"/><rect width="2" height="2" fill="hsl(0,0%,${(grey - 6).toFixed(0)}%)"/>`,
		'</pattern></defs><rect width="100%" height="100%" fill="url(#paper)"/>',
		...shapes,
		"</svg>",
	].join("");
}
