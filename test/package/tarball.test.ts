/**
 * The package as its users get it: built, packed, and installed into an empty folder with npm as it comes (no .npmrc of ours), where
 * `npx tfjs-rft setup` and the README's script run. setup starts from a cache without tfjs-node-gpu (npm leaves optional peers out),
 * but with the TensorFlow that this machine has staged.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cacheFolder, kernelsFolder, runtimeFolder } from "../../src/backend/setup/cache-folder.js";
import { loadModel } from "../../src/index.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const HERE = fileURLToPath(new URL(".", import.meta.url));
const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const IMAGE = goldenPath("images", "chelsea_tiny.png");

let scratch: string;
let folder: string;
let tarball: string;
let packed: string[];

/** What a shell of the user's has: none of the npm settings that `npm test` hands on. */
function userEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
	const own = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS|VITEST|NODE_ENV|INIT_CWD|NODE_PATH)/i.test(name));
	return { ...Object.fromEntries(own), TFJS_RFT_CACHE: path.join(scratch, "cache"), ...extra };
}

async function run(command: string, args: string[], cwd = folder): Promise<string> {
	const { stdout } = await promisify(execFile)(command, args, { cwd, env: userEnv(), maxBuffer: 1 << 24 });
	return stdout;
}

beforeAll(async () => {
	scratch = await mkdtemp(path.join(tmpdir(), "rft-package-"));
	folder = path.join(scratch, "empty");
	await mkdir(folder);
	await mkdir(path.join(scratch, "cache"));
	if (!nativeMissing) await symlink(runtimeFolder(cacheFolder(), "cpu"), runtimeFolder(path.join(scratch, "cache"), "cpu"));
	await run("npm", ["run", "build"], ROOT);
	const report = await run("npm", ["pack", "--json", "--pack-destination", scratch], ROOT);
	const [{ filename, files }] = JSON.parse(report) as { filename: string; files: { path: string }[] }[];
	tarball = path.join(scratch, filename);
	packed = files.map((file) => file.path);
	await run("npm", ["install", tarball, "--prefer-offline", "--no-audit", "--no-fund"]);
}, 400_000);
afterAll(() => rm(scratch, { recursive: true, force: true }));

describe("the packed tarball", { timeout: 180_000 }, () => {
	it("holds the build, the C++ file, the judge and its data, and no sources", () => {
		const needed = [
			"dist/index.js",
			"dist/index.cjs",
			"dist/index.d.ts",
			"dist/index.d.cts",
			"dist/testing.d.cts",
			"dist/cli.js",
			"dist/model-process.js",
		];
		const shipped = [
			"native/redirect_fd.cc",
			"native/graph_functions.cc",
			"dist/compile.cjs",
			"examples/judge/config.json",
			"examples/data/train.json",
			"LICENSE",
			"README.md",
		];
		expect(packed).toEqual(expect.arrayContaining([...needed, ...shipped]));
		expect(packed.filter((file) => /^(src|test|bench)\//.test(file))).toEqual([]);
	});

	it("is the same from ES modules, from CommonJS and from the sources", async () => {
		for (const file of ["smoke.mjs", "smoke.cjs"]) await copyFile(path.join(HERE, file), path.join(folder, file));
		await using model = await loadModel(CHECKPOINT, { backend: "wasm" });
		const content = [{ type: "image", image: IMAGE } as const, { type: "text", text: "a teapot" } as const];
		const inputs = await model.processor.encode([[{ role: "user", content }]], { addGenerationPrompt: true });
		const tokens = [...(await model.generate(inputs, { maxNewTokens: 8 })).tokens[0]];
		for (const file of ["smoke.mjs", "smoke.cjs"]) {
			const report: unknown = JSON.parse(await run("node", [file, CHECKPOINT, IMAGE]));
			expect(report).toMatchObject({
				tokens,
				hostedTokens: tokens,
				oneImageError: true,
				checks: expect.arrayContaining(["Node", "sharp"]),
			});
		}
	});

	it("has types that a strict program compiles with, from both kinds of module", async () => {
		const program = `import { loadModel, type GenerativeModel } from "tfjs-rft";
import { fakeModel } from "tfjs-rft/testing";
export const fake: GenerativeModel = fakeModel({ answer: (conversation) => conversation[0].role });
export const load: () => Promise<GenerativeModel> = () => loadModel("judge");
// @ts-expect-error a directory is a string
export const wrong = () => loadModel(1);
`;
		for (const file of ["program.mts", "program.cts"]) await writeFile(path.join(folder, file), program);
		const settings = "--noEmit --strict --skipLibCheck --target es2022 --lib es2023,esnext.disposable --module nodenext --types node".split(
			" ",
		);
		const tsc = path.join(ROOT, "node_modules/typescript/bin/tsc");
		const types = ["--typeRoots", path.join(ROOT, "node_modules/@types")];
		expect(await run("node", [tsc, ...settings, ...types, "program.mts", "program.cts"]).catch(({ stdout }) => stdout)).toBe("");
	});

	it.skipIf(nativeMissing)(
		`is set up by one command, which brings tfjs-node-gpu (${nativeMissing ?? "native runtime staged"})`,
		async () => {
			expect(existsSync(path.join(folder, "node_modules/@tensorflow/tfjs-node-gpu"))).toBe(false);
			await run("npx", ["tfjs-rft", "setup", "--device", "cpu"]);
			expect(existsSync(path.join(kernelsFolder(path.join(scratch, "cache")), "node_modules/@tensorflow/tfjs-node-gpu"))).toBe(true);
			const report = JSON.parse(await run("npx", ["tfjs-rft", "doctor", "--json"])) as { ok: boolean };
			expect(report.ok).toBe(true);
		},
	);

	it("runs the README's script", async () => {
		const [, script] = /```js\n(.*?)```/s.exec(await readFile(path.join(ROOT, "README.md"), "utf8"))!;
		expect(script.split("\n").filter((line) => line.trim()).length).toBeLessThanOrEqual(15);
		await writeFile(path.join(folder, "learn.mjs"), script);
		const output = await run("node", ["learn.mjs"]);
		expect(output).toMatch(nativeMissing ? /^wasm: / : /^native-cpu: /);
		expect(output).toMatch(/[1-9]\d* right judgements of 32/);
		expect(output).toMatch(/last loss \d/);
		expect(await readdir(path.join(folder, "better-judge"))).toEqual(expect.arrayContaining(["config.json", "model.safetensors"]));
	});
});
