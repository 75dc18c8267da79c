/**
 * Where setup keeps what it staged: a user cache folder, shared by all projects.
 *
 *   <cache>/tensorflow-2.21.0-cpu-linux-x64/     one folder per TensorFlow version and flavour
 *     tensorflow/libtensorflow_cc.so.2 …         out of the wheel, with the C headers
 *     nvidia/<lib>/lib/…                         flavour cuda only
 *     runtime.json                               written last: the folder is whole
 *     addons/<key>/tfjs_binding.node …           one per addon source, headers and N-API version
 *   <cache>/image-ops/<key>/image_ops.node        one per source of ours; needs no TensorFlow
 *   <cache>/tfjs-node-gpu-4.22.0/node_modules/   only where the project has not installed the package
 *   <cache>/downloads/<flavour>/*.whl            until it is extracted
 */
import { homedir } from "node:os";
import path from "node:path";
import { type RuntimeFlavour, TENSORFLOW_VERSION, TFJS_NODE_VERSION } from "./tensorflow-release.js";

/** `$TFJS_RFT_CACHE`, else `tfjs-rft` in `$XDG_CACHE_HOME` or in `~/.cache`. Absolute. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
	if (env.TFJS_RFT_CACHE) return path.resolve(env.TFJS_RFT_CACHE);
	return path.join(path.resolve(env.XDG_CACHE_HOME || path.join(homedir(), ".cache")), "tfjs-rft");
}

/** The folder of one staged TensorFlow. */
export function runtimeFolder(cache: string, flavour: RuntimeFlavour): string {
	return path.join(cache, `tensorflow-${TENSORFLOW_VERSION}-${flavour}-${process.platform}-${process.arch}`);
}

/** The folder in which setup installs tfjs-node-gpu itself. */
export function kernelsFolder(cache: string): string {
	return path.join(cache, `tfjs-node-gpu-${TFJS_NODE_VERSION}`);
}
