/**
 * An image path from a data file to a file inside the image root. A data file is outside input: `../../etc/passwd`, an
 * absolute path elsewhere and a symbolic link that leads out are refused, whatever they point at. URLs are not fetched.
 *
 * Where a folder really is, is looked up once per data file and folder; the image itself each time. So an image costs one look at the disk: a
 * path is inside where its folder's real path is and it is no link itself, and links are followed to their end.
 */
import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { LRUCache } from "lru-cache";
import type { RowProblem } from "../files/dataset-error.js";
import { isInside } from "../files/is-inside.js";

/** The absolute path (links as written, not followed), or what was wrong. */
export type ResolvedImage = { ok: true; path: string } | ({ ok: false } & Pick<RowProblem, "kind" | "expected" | "got">);

/** The root images must stay in, and where it really is. */
export interface ImageRoot {
	path: string;
	realPath: string;
	/** Real paths of the images' folders met so far. */
	folders: LRUCache<string, string>;
}

/** `https://…`, `s3://…`, and pictures written out as `data:`. */
const URL_START = /^([a-z][a-z0-9+.-]*:\/\/|data:)/i;
const SHOWN = 200;
/** Folders whose real path is remembered: data sets that have more come back to the latest. */
const FOLDERS = 10_000;

/** @throws the file system's error if the folder isn't there. */
export async function openImageRoot(folder: string): Promise<ImageRoot> {
	const path = resolve(folder);
	return { path, realPath: await realpath(path), folders: new LRUCache({ max: FOLDERS }) };
}

/** Resolves `written` inside `root`; the file must exist and hold something. */
export async function resolveImage(written: string, root: ImageRoot): Promise<ResolvedImage> {
	const fail = (kind: RowProblem["kind"], expected: string, got: string): ResolvedImage => ({ ok: false, kind, expected, got: clip(got) });
	if (URL_START.test(written)) return fail("url", "the path of an image file (URLs are not fetched; download it first)", written);
	const path = resolve(root.path, written);
	if (!isInside(path, root.path)) return fail("outside-root", `a path inside ${root.path}`, written);
	try {
		const unlinked = join(await realFolder(dirname(path), root), basename(path));
		const there = isInside(unlinked, root.realPath) ? await lstat(unlinked) : undefined;
		const realPath = there?.isSymbolicLink() ? await realpath(unlinked) : unlinked;
		if (!there || !isInside(realPath, root.realPath)) {
			return fail("outside-root", `a path inside ${root.path}`, `${clip(written)}, a link to ${realPath}`);
		}
		const found = there.isSymbolicLink() ? await stat(realPath) : there;
		if (!found.isFile()) return fail("not-a-file", "an image file", `${path}, which is not a file`);
		if (found.size === 0) return fail("empty-image", "an image file", `${path}, which is empty`);
		return { ok: true, path };
	} catch (error) {
		const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
		if (reason === "ENOENT" || reason === "ENOTDIR") {
			return fail("missing-image", "an image file", `no file at ${JSON.stringify(clip(path))}`);
		}
		const kind = ["ENAMETOOLONG", "ERR_INVALID_ARG_VALUE", "ELOOP"].includes(reason) ? "bad-path" : "unreadable-image";
		return fail(kind, "an image file", `${JSON.stringify(clip(path))}: ${reason}`);
	}
}

async function realFolder(folder: string, { folders }: ImageRoot): Promise<string> {
	const known = folders.get(folder);
	if (known !== undefined) return known;
	const found = await realpath(folder);
	folders.set(folder, found);
	return found;
}

function clip(text: string): string {
	return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
