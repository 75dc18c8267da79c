/**
 * One pair as a record: its key, the shard that it belongs to, its images as files. Of a pair of another shard nothing more is looked up than
 * its key needs.
 */
import { basename } from "node:path";
import { DatasetError, type RowProblem } from "../files/dataset-error.js";
import type { EmbeddedFile } from "../files/read-tar-rows.js";
import { contentHash } from "./content-hash.js";
import { keyOf } from "./key-of.js";
import type { PreferenceRecord } from "./preference-record.js";
import { type ImageRoot, openImageRoot, type ResolvedImage, resolveImage } from "./resolve-image.js";
import { inShard, type Shard } from "./shard.js";
import { type ImageReference, type ReadPair, TIE } from "./sources/pair-source.js";
import { imageDigest, storeImage } from "./store-image.js";

/** What is wrong with an image; `ImageError` is one. */
export interface ImageFault extends Pick<RowProblem, "kind"> {
	/** For a person. */
	reason: string;
}

export interface RecordOptions {
	maxPromptLength: number;
	checkImage?: (path: string) => Promise<ImageFault | undefined>;
	shard?: Shard;
	/** Absolute. */
	imageCache: string;
}

/** The folders that a file's images are in. */
export interface ImageRoots {
	root: ImageRoot;
	/** Of images that data files hold. */
	cache: string;
}

/** @throws DatasetError where the image root is no folder. */
export async function openRoots(folder: string, cache: string, file: string): Promise<ImageRoots> {
	try {
		return { root: await openImageRoot(folder), cache };
	} catch (cause) {
		throw new DatasetError(file, `${file}: image root ${folder}: expected a folder, got ${cause}; give imageRoot`, { cause });
	}
}

/** @returns the record, what is wrong with it, that it is a tie, or undefined for one of another shard. */
export async function readRecord(
	read: ReadPair,
	{ name, file }: { name: string; file: string },
	roots: ImageRoots,
	{ maxPromptLength, checkImage, shard }: RecordOptions,
): Promise<PreferenceRecord | RowProblem | typeof TIE | undefined> {
	const { row } = read;
	if (!("pair" in read) || read.pair === TIE) {
		// Without a key, the place decides: so that one of the shards tells it, and only one.
		if (shard && !inShard(contentHash("row", row).toString("hex"), shard)) return undefined;
		return "pair" in read ? TIE : { file, ...read, ...("value" in read && { value: withoutBytes(read.value) }) };
	}
	const { images: written, imageFields, ...content } = read.pair;
	const images = written.map((image) => withDigest(embeddedIn(read.value, image)));
	const key = keyOf({ ...content, paths: [images[0].name, images[1].name] });
	if (shard && !inShard(key, shard)) return undefined;
	const bad = (field: string, kind: RowProblem["kind"], expected: string, got: string): RowProblem => {
		return { file, row, field, kind, expected, got, value: withoutBytes(read.value) };
	};
	if (content.prompt.length > maxPromptLength) {
		return bad("prompt", "prompt-too-long", `at most ${maxPromptLength} characters`, `${content.prompt.length}`);
	}
	const paths: string[] = [];
	for (const [i, image] of (await Promise.all(images.map((image) => asFile(image, roots)))).entries()) {
		if (!image.ok) return bad(imageFields[i], image.kind, image.expected, image.got);
		paths.push(image.path);
	}
	for (const [i, fault] of (await Promise.all(paths.map((path) => checkImage?.(path)))).entries()) {
		if (fault) return bad(imageFields[i], fault.kind, "an image that can be read", `${paths[i]}, which ${fault.reason}`);
	}
	return { key, ...content, images: [paths[0], paths[1]], order: [0, 1], source: { name, file, row } };
}

/** A path may name a file that came with the row, as a tar shard's members do: by its whole name or its last part. */
function embeddedIn(row: unknown, image: ImageReference): ImageReference {
	if (typeof image !== "string" || typeof row !== "object" || row === null) return image;
	for (const [field, value] of Object.entries(row)) {
		if (isEmbedded(value) && (field === image || value.path === image || basename(value.path) === image)) return value;
	}
	return image;
}

const isEmbedded = (value: unknown): value is EmbeddedFile =>
	typeof value === "object" &&
	value !== null &&
	"bytes" in value &&
	value.bytes instanceof Uint8Array &&
	"path" in value &&
	typeof value.path === "string";

/** An image's name in the key: its path as written, or its content. */
type NamedImage = { name: string; image: string } | { name: string; image: EmbeddedFile; digest: string };

function withDigest(image: ImageReference): NamedImage {
	if (typeof image === "string") return { name: image, image };
	const digest = imageDigest(image);
	return { name: `sha256:${digest}`, image, digest };
}

async function asFile(named: NamedImage, { root, cache }: ImageRoots): Promise<ResolvedImage> {
	if (!("digest" in named)) return resolveImage(named.image, root);
	return { ok: true, path: await storeImage(named.image, named.digest, cache) };
}

/** A row that can be shown and kept: pictures are told by their sizes. */
function withoutBytes(value: unknown): unknown {
	if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
	if (typeof value === "bigint") return String(value); // JSON has none
	if (Array.isArray(value)) return value.map(withoutBytes);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutBytes(inner)]));
}
