/**
 * The pictures of the cold start: every scene and flaw many times over, rendered once into a folder. Lessons draw
 * from the pool, so that tens of thousands of lessons need some thousands of files.
 */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { QUALITIES } from "../data-generator/degrade.js";
import { type Look, renderLook, type Subject } from "../data-generator/pair.js";
import { PHOTOGRAPHS } from "../data-generator/photograph.js";
import { Random } from "../data-generator/random.js";
import { describeLook } from "../data-generator/reasoning.js";
import { scenesOf } from "../data-generator/scene.js";

export interface PicturePool {
	folder: string;
	/** A picture that shows a look: its file's name, relative to `folder`. */
	pick(look: Look, random: Random): string;
}

export interface PicturePoolOptions {
	/** Pictures of each scene of the split, clean. Default 24. */
	cleanPerScene?: number;
	/** Pictures of each scene with each of the four flaws. Default 2. */
	flawedPerScene?: number;
	/** Crops of each photograph in each of the five qualities. Default 80. */
	perPhotograph?: number;
	/** Called after each file. */
	onProgress?: (done: number, total: number) => void;
}

/** Pictures drawn at once; sharp has four threads. */
const CONCURRENCY = 8;

/** What a picture has to show to stand for a look. */
function lookKey({ quality, subject }: Look): string {
	return subject.kind === "photo" ? `${quality} ${subject.name}` : describeLook({ quality, subject });
}

/** Every look of the pool with how many pictures of it there are. */
function inventory({ cleanPerScene, flawedPerScene, perPhotograph }: Required<Omit<PicturePoolOptions, "onProgress">>): [Look, number][] {
	const subjects: Subject[] = [
		...scenesOf("cold-start").map((scene): Subject => ({ kind: "scene", scene })),
		...Object.entries(PHOTOGRAPHS["cold-start"]).map(([name, subject]): Subject => ({ kind: "photo", name, subject })),
	];
	return subjects.flatMap((subject) =>
		QUALITIES.map((quality): [Look, number] => {
			const ofScene = quality === "clean" ? cleanPerScene : flawedPerScene;
			return [{ quality, subject }, subject.kind === "photo" ? perPhotograph : ofScene];
		}),
	);
}

/** Renders the pool into a folder; the same pictures on every run. */
export async function renderPicturePool(
	folder: string,
	{ cleanPerScene = 24, flawedPerScene = 2, perPhotograph = 80, onProgress }: PicturePoolOptions = {},
): Promise<PicturePool> {
	await mkdir(folder, { recursive: true });
	const looks = inventory({ cleanPerScene, flawedPerScene, perPhotograph });
	const files = new Map<string, string[]>();
	const work = looks.flatMap(([look, count]) => Array.from({ length: count }, (_, i) => ({ look, i })));
	// A picture's number says what it shows, so one that an earlier run drew is taken as it is.
	const there = new Map((await readdir(folder)).map((file) => [file.slice(0, 5), file]));
	const draw = async (look: Look, i: number, name: string): Promise<string> => {
		const { bytes, extension } = await renderLook(look, new Random(`cold-start/${lookKey(look)}/${i}`));
		await writeFile(join(folder, `${name}.${extension}`), bytes);
		return `${name}.${extension}`;
	};
	let next = 0;
	let done = 0;
	const render = async () => {
		while (next < work.length) {
			const index = next++;
			const { look, i } = work[index];
			const name = String(index).padStart(5, "0");
			const file = there.get(name) ?? (await draw(look, i, name));
			const of = files.get(lookKey(look)) ?? [];
			of[i] = file;
			files.set(lookKey(look), of);
			onProgress?.(++done, work.length);
		}
	};
	await Promise.all(Array.from({ length: CONCURRENCY }, render));
	return {
		folder,
		pick(look, random) {
			const of = files.get(lookKey(look));
			if (!of) throw new Error(`the picture pool has nothing that shows "${lookKey(look)}"; add the look to its inventory`);
			return random.pick(of);
		},
	};
}
