/**
 * Two builds of the library, one of the programs.
 *
 * A class has to be the same one under `tfjs-rft` and `tfjs-rft/testing` (`error instanceof ImageError`). For ESM esbuild splits
 * shared code off by itself; for CommonJS tsup's splitting goes through a second compiler that loses `export *`, so the one
 * shared file is an output of its own there. `shims` gives CommonJS an `import.meta.url`, from which the wasm kernels, the Node
 * headers and `native/` are found. Dynamic imports stay as they are: stream-json is ES modules only.
 */
import { defineConfig, type Options } from "tsup";

const library = { index: "src/index.ts", testing: "src/testing.ts", compile: "src/compile.ts" };
/** Run as processes, in ES modules whoever starts them. `model-process` is what `hostModel` forks: dist/model-process.js. */
const programs = { cli: "src/cli/main.ts", "model-process": "src/model/host/model-process.ts" };
const common: Options = { target: "node20", platform: "node", outDir: "dist", shims: true, sourcemap: true };

const sharedSeam: NonNullable<Options["esbuildPlugins"]>[number] = {
	name: "shared-seam",
	setup(build) {
		build.onResolve({ filter: /\/generative-model\.js$/ }, () => ({ path: "./generative-model.cjs", external: true }));
	},
};

export default defineConfig([
	{ ...common, format: "esm", splitting: true, entry: { ...library, ...programs }, dts: { entry: library } },
	{
		...common,
		format: "cjs",
		splitting: false,
		entry: { ...library, "generative-model": "src/model/generative-model.ts" },
		dts: { entry: library },
		esbuildPlugins: [sharedSeam],
	},
]);
