/** The guide's programs: all of them compile against the sources, and those that need no weights run. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GUIDE = join(ROOT, "docs/guide");
const ENTRIES = {
	"tfjs-rft": join(ROOT, "src/index.ts"),
	"tfjs-rft/testing": join(ROOT, "src/testing.ts"),
	"tfjs-rft/compile": join(ROOT, "src/compile.ts"),
};

let folder: string;
/** Name → file of each program, such as `sampling-0`. */
const programs = new Map<string, string>();

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-guide-"));
	await symlink(join(ROOT, "test"), join(folder, "test"));
	await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
	await writeFile(join(folder, "package.json"), '{"type": "module"}');
	for (const page of await readdir(GUIDE)) {
		const text = await readFile(join(GUIDE, page), "utf8");
		for (const [i, [, code]] of [...text.matchAll(/```ts\n(.*?)```/gs)].entries()) {
			const name = `${page.replace(".md", "")}-${i}`;
			const resolved = Object.entries(ENTRIES).reduce((program, [from, to]) => program.replace(`"${from}"`, JSON.stringify(to)), code);
			programs.set(name, join(folder, `${name}.ts`));
			await writeFile(join(folder, `${name}.ts`), `${resolved}\nexport {};\n`);
		}
	}
});
afterAll(() => rm(folder, { recursive: true }));

it("compile", () => {
	const { options } = ts.convertCompilerOptionsFromJson(
		{ target: "es2022", lib: ["es2023", "esnext.disposable"], module: "nodenext", strict: true, skipLibCheck: true, noEmit: true },
		ROOT,
	);
	const settings = { ...options, allowImportingTsExtensions: true, resolveJsonModule: true, types: ["node"] };
	const program = ts.createProgram([...programs.values()], settings);
	const problems = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
		return `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
	});
	expect(programs.size).toBeGreaterThan(7);
	expect(problems).toEqual([]);
});

it("run, where they need no weights", async () => {
	const runnable = [...programs].filter(([name]) => /^(dataset|sampling|filtering|conversations|evaluate|compile)-/.test(name));
	const all = join(folder, "all.ts");
	await writeFile(all, runnable.map(([, file]) => `await import(${JSON.stringify(pathToFileURL(file).href)});`).join("\n"));
	const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", all], { cwd: folder });
	expect(runnable).toHaveLength(15);
	expect(stdout).toMatch(/accuracy: 0\.5,\s+ci: \[ 0\.215\d+, 0\.784\d+ \],\s+parseRate: 1,\s+saysImage1: 1/);
	expect(await readdir(join(folder, "out"))).toEqual(
		expect.arrayContaining([
			"filtered_samples.json",
			"filtered_samples_stats.txt",
			"rejected_samples.jsonl",
			"rejection_sampling_train.json",
		]),
	);
});
