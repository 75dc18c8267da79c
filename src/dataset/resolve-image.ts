/**
 * An image path from a data file to a file inside the image root. A data file is outside input: `../../etc/passwd`, an
 * absolute path elsewhere and a symbolic link that leads out are refused, whatever they point at.
 */
import { realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { isInside } from "../files/is-inside.js";

/** The absolute path (links as written, not followed), or what was wrong. */
export type ResolvedImage = { ok: true; path: string } | { ok: false; expected: string; got: string };

/** The root images must stay in, and where it really is. */
export interface ImageRoot {
	path: string;
	realPath: string;
}

/** @throws the file system's error if the folder isn't there. */
export async function openImageRoot(folder: string): Promise<ImageRoot> {
	const path = resolve(folder);
	return { path, realPath: await realpath(path) };
}

/** Resolves `written` inside `root`; the file must exist. */
export async function resolveImage(written: string, root: ImageRoot): Promise<ResolvedImage> {
	const path = resolve(root.path, written);
	if (!isInside(path, root.path)) return outside(written, root);
	try {
		const realPath = await realpath(path);
		if (!isInside(realPath, root.realPath)) return outside(`${written}, a link to ${realPath}`, root);
		if (!(await stat(realPath)).isFile()) return { ok: false, expected: "an image file", got: `${path}, which is not a file` };
		return { ok: true, path };
	} catch (error) {
		const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
		const got = reason === "ENOENT" || reason === "ENOTDIR" ? `no file at ${JSON.stringify(path)}` : `${JSON.stringify(path)}: ${reason}`;
		return { ok: false, expected: "an image file", got };
	}
}

function outside(written: string, root: ImageRoot): ResolvedImage {
	return { ok: false, expected: `a path inside ${root.path}`, got: written };
}
