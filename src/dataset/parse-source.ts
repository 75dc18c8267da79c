/** `schema:path@weight`: which source, where its files are, and how often it is drawn from. */
import { genaiBench } from "./sources/genai-bench.js";
import { hpdv3 } from "./sources/hpdv3.js";
import { imageRewardDb } from "./sources/image-reward-db.js";
import { imagegenCotReward } from "./sources/imagegen-cot-reward.js";
import { mappedPairs, type PairMapping } from "./sources/mapped-pairs.js";
import { omniRewardBench } from "./sources/omni-reward-bench.js";
import type { PairSource } from "./sources/pair-source.js";
import { rapidata } from "./sources/rapidata.js";

/** By LightRFT's names, and shorter ones. */
const SOURCES: Readonly<Record<string, PairSource>> = {
	hpdv3,
	"imagegen-cot-reward-5k": imagegenCotReward,
	imagerewarddb: imageRewardDb,
	"omnirewardbench-t2i": omniRewardBench,
	omnirewardbench: omniRewardBench,
	genai_bench: genaiBench,
	genai: genaiBench,
	"rapidata-t2i": rapidata,
	rapidata,
};

/** The generic source, which needs a mapping. */
const MAPPED = "pairs";

/** LightRFT's sources of other media. */
const OTHER_MEDIA = /^(rapidata-(t2v|i2v)|omnirewardbench-(t2v|t2a)|genai_bench_video|videodpo|videogen-rewardbench|audio-alpaca)$/;

/** A source as it was written. */
export interface ParsedSource {
	/** `hpdv3`, `pairs`, … */
	name: string;
	/** A file, a folder or a pattern. */
	path: string;
	/** As given, such as 0.7; the weights of several sources are relative to each other. */
	weight?: number;
}

/**
 * @param sources `schema:path`, or `schema:path@weight`.
 * @throws TypeError for one without a known schema, without a path or with a weight that is not above 0, for weights on some sources only, and for none.
 */
export function parseSources(sources: string | readonly string[]): ParsedSource[] {
	const parsed = (typeof sources === "string" ? [sources] : sources).map(parseSource);
	if (parsed.length === 0) throw new TypeError('loadDataset: expected at least one source such as "hpdv3:path.json", got none');
	const weighted = parsed.filter(({ weight }) => weight !== undefined);
	if (weighted.length === 0 || weighted.length === parsed.length) return parsed;
	const without = parsed.find(({ weight }) => weight === undefined);
	throw new TypeError(
		`source ${JSON.stringify(`${without?.name}:${without?.path}`)}: expected a weight such as @0.5, as ${weighted[0].name} has one, got none`,
	);
}

function parseSource(source: string): ParsedSource {
	const said = `source ${JSON.stringify(source)}`;
	const colon = source.indexOf(":");
	const name = source.slice(0, Math.max(colon, 0));
	if (OTHER_MEDIA.test(name))
		throw new TypeError(`${said}: expected pairs of images, got ${name}, which has video or sound; no judge here sees it`);
	if (!Object.hasOwn(SOURCES, name) && name !== MAPPED) {
		const known = [...Object.keys(SOURCES), MAPPED].join(", ");
		throw new TypeError(`${said}: expected "schema:path" with one of the schemas ${known}, got ${name || "no schema"}`);
	}
	const [, path, weight] = /^(.*?)(?:@([-+.\w]+))?$/s.exec(source.slice(colon + 1)) ?? [];
	const number = Number(weight);
	if (weight === undefined || Number.isNaN(number)) return { name, path: checkedPath(source.slice(colon + 1), said, name) };
	if (number > 0 && number < Number.POSITIVE_INFINITY) return { name, path: checkedPath(path, said, name), weight: number };
	throw new TypeError(`${said}: expected a weight above 0 after "@", got ${weight}`);
}

function checkedPath(path: string, said: string, name: string): string {
	if (path === "") throw new TypeError(`${said}: expected a path after "${name}:", got nothing`);
	return path;
}

/** @throws TypeError for `pairs` without a mapping. */
export function pairSource({ name, path }: ParsedSource, mapping: PairMapping | undefined): PairSource {
	if (name !== MAPPED) return SOURCES[name];
	if (mapping) return mappedPairs(mapping);
	throw new TypeError(`source "${MAPPED}:${path}": expected a mapping from its fields, got none; give mapping`);
}
