/**
 * What setup has staged, read back. Everything is looked up by name, nothing is guessed: a folder without its
 * `runtime.json` is a setup that did not finish.
 */
import { existsSync, readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { cacheFolder, runtimeFolder } from "./cache-folder.js";
import { type AddonFiles, addonFiles, addonFolder } from "./compile-addon.js";
import { findNodeKernels } from "./node-kernels.js";
import type { RuntimeFlavour } from "./tensorflow-release.js";

const MANIFEST = "runtime.json";

const manifestSchema = z.object({
	flavour: z.enum(["cpu", "cuda"]),
	tensorflowVersion: z.string(),
	/** Name of the wheel that the files came from. */
	wheel: z.string(),
	stagedAt: z.string(),
});
/** `runtime.json`. */
export type RuntimeManifest = z.infer<typeof manifestSchema>;

/** A runtime that can be loaded: libraries, addon and kernels are all there. */
export interface StagedRuntime {
	flavour: RuntimeFlavour;
	/** The runtime folder, see cache-folder.ts. */
	folder: string;
	/** tfjs-node-gpu's folder. */
	kernels: string;
	addon: AddonFiles;
}

/** The manifest of a runtime folder that is whole, else undefined. */
export function readManifest(folder: string): RuntimeManifest | undefined {
	const file = path.join(folder, MANIFEST);
	return existsSync(file) ? manifestSchema.parse(JSON.parse(readFileSync(file, "utf8"))) : undefined;
}

/** Writes the manifest; from then on the folder counts as staged. */
export async function writeManifest(folder: string, manifest: RuntimeManifest): Promise<void> {
	const file = path.join(folder, MANIFEST);
	await writeFile(`${file}.partial`, `${JSON.stringify(manifest, null, "\t")}\n`);
	await rename(`${file}.partial`, file);
}

/** The staged runtime of a flavour, or which part of it is missing. */
export function findStagedRuntime(flavour: RuntimeFlavour, env: NodeJS.ProcessEnv = process.env): StagedRuntime | { missing: string } {
	const cache = cacheFolder(env);
	const folder = runtimeFolder(cache, flavour);
	if (!readManifest(folder)) return { missing: `no libtensorflow (${flavour}) in ${cache}` };
	const kernels = findNodeKernels(cache);
	if (!kernels) return { missing: `tfjs-node-gpu is neither installed nor in ${cache}` };
	const addon = addonFiles(addonFolder(folder, kernels));
	if (!existsSync(addon.binding)) return { missing: "the addon is not compiled for this version of tfjs-rft" };
	return { flavour, folder, kernels, addon };
}
