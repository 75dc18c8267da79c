/**
 * Which libtensorflow is staged: one fixed release, as the Python wheel that carries it.
 *
 * The wheel's Python version does not matter (only its C libraries and C headers are used), so it is always the one
 * for CPython 3.11 and its SHA-256 can be written down here; pip refuses any other file.
 * `tensorflow-cpu` exists for x86-64 only; `tensorflow` is the CUDA build on x86-64 and a CPU build on arm64.
 */
import { SetupError } from "./setup-error.js";

/** The TensorFlow release that the addon is compiled against. */
export const TENSORFLOW_VERSION = "2.21.0";
/** The tfjs-node-gpu release whose addon sources and kernels are used; equal to our `@tensorflow/tfjs`. */
export const TFJS_NODE_VERSION = "4.22.0";
/** Tags of the wheel, for `pip download`. */
export const PYTHON_TAG = "3.11";

/** `cpu`: CPU kernels only. `cuda`: CUDA and CPU kernels, and NVIDIA's libraries beside them. */
export type RuntimeFlavour = "cpu" | "cuda";

/** One wheel on the package index. */
export interface TensorflowWheel {
	/** The Python package. */
	packageName: string;
	/** pip's platform tags, best first; it accepts no older ones by itself. */
	platforms: readonly string[];
	/** Size in bytes, for the progress bar. */
	bytes: number;
	sha256: string;
}

/** TensorFlow's wheels are manylinux_2_27; NVIDIA's have older tags (pip takes manylinux2014 for 2010 and 1 as well). */
function manylinux(arch: "x86_64" | "aarch64"): string[] {
	const minors = [27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17];
	return [...minors.map((minor) => `manylinux_2_${minor}_${arch}`), `manylinux2014_${arch}`];
}

const WHEELS: Partial<Record<string, TensorflowWheel>> = {
	"cpu-linux-x64": {
		packageName: "tensorflow-cpu",
		platforms: manylinux("x86_64"),
		bytes: 273_829_956,
		sha256: "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c",
	},
	"cuda-linux-x64": {
		packageName: "tensorflow",
		platforms: manylinux("x86_64"),
		bytes: 572_440_367,
		sha256: "9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124",
	},
	"cpu-linux-arm64": {
		packageName: "tensorflow",
		platforms: manylinux("aarch64"),
		bytes: 281_828_020,
		sha256: "4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c",
	},
};

/**
 * The wheel for a flavour on this machine.
 *
 * @throws SetupError (`platform`) where there is none
 */
export function tensorflowWheel(
	flavour: RuntimeFlavour,
	platform: string = process.platform,
	arch: string = process.arch,
): TensorflowWheel {
	const wheel = WHEELS[`${flavour}-${platform}-${arch}`];
	if (!wheel) {
		const supported = Object.keys(WHEELS).join(", ");
		throw new SetupError({
			step: "platform",
			problem: `no libtensorflow for ${flavour} on ${platform}-${arch} (there is one for ${supported})`,
			wayOut:
				flavour === "cuda" ? "run `npx tfjs-rft setup --device cpu`" : "go on without setup: `--backend wasm` runs everywhere, slower",
		});
	}
	return wheel;
}
