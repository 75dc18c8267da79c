/**
 * The import table: which folder of src/ may import which, and which packages each one owns.
 *
 * A row names a zone (a folder, or a file that is its own layer), what it may import, what it may import as types only, and its
 * packages. The table is the design's, with the additions argued for in docs/decisions/2026-11-24-import-table.md. Every import
 * counts: static, dynamic, `export … from`, `import("…")` in a type. A type-only import is one that the compiler erases.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

interface Row {
	/** Zones, or single files of them. */
	imports: string[];
	/** As `imports`, but for types only. */
	types?: string[];
	/** npm packages, and `node:fs` where files are its business; other Node modules are free. */
	packages?: string[];
}

const SEAM = "model/generative-model.ts";
const TABLE: Record<string, Row> = {
	backend: {
		imports: [],
		packages: [
			...["tfjs", "tfjs-core", "tfjs-backend-wasm"].map((name) => `@tensorflow/${name}`),
			...["node:fs", "zod", "proper-lockfile", "yauzl", "node-api-headers", "@bufbuild/protobuf"],
			"sharp", // doctor reports its version
		],
	},
	checkpoint: { imports: ["backend"], packages: ["node:fs", "zod"] },
	nn: { imports: ["backend"] },
	files: {
		imports: ["checkpoint/write-whole.ts"],
		packages: ["node:fs", "zod", "hyparquet", "hyparquet-writer", "fzstd", "xxhash-wasm", "tar-stream", "tinyglobby"],
	},
	dataset: { imports: ["files", "backend/setup/cache-folder.ts"], packages: ["node:fs", "zod", "yaml", "lru-cache"] },
	[SEAM]: { imports: [], types: ["backend"] },
	model: {
		imports: [SEAM, "backend", "nn", "checkpoint"],
		types: ["dataset"],
		packages: [
			...["node:fs", "sharp", "@huggingface/tokenizers", "@huggingface/jinja", "zod", "lru-cache", "pure-rand"],
			...["openai", "p-retry"], // remote judges
		],
	},
	sampler: {
		imports: ["dataset", "backend", "checkpoint/write-whole.ts", SEAM],
		packages: ["node:fs", "zod", "crc-32", "proper-lockfile"], // the journal's
	},
	reward: { imports: ["files", "sampler/rollout-shape.ts"], types: ["dataset", "sampler"], packages: ["zod", "sharp", "minhash"] },
	trainer: {
		imports: ["backend", "nn", "checkpoint", "files", SEAM],
		types: ["dataset", "sampler", "reward"],
		packages: ["node:fs", "zod", "pure-rand", "@bufbuild/protobuf", "crc-32", "sharp"], // sharp: pictures in logs
	},
	rounds: { imports: ["files", "sampler", "reward"], types: ["dataset"], packages: ["node:fs", "zod"] },
	report: { imports: ["files", "dataset", "reward"], packages: ["sharp", "echarts"] },
	"compile.ts": { imports: ["backend"] },
	"testing.ts": { imports: [SEAM, "model/answer-form.ts", "model/repetition-detector.ts"], packages: ["node:fs"] },
	"index.ts": { imports: ["backend", "checkpoint", "files", "dataset", "model", SEAM, "sampler", "reward", "trainer", "rounds", "report"] },
	cli: {
		imports: ["index.ts", "files/is-inside.ts", "../package.json"],
		packages: ["node:fs", "commander", "cli-progress", "cli-table3", "fastest-levenshtein", "yaml", "zod"],
	},
};

interface Import {
	specifier: string;
	typeOnly: boolean;
}

const SRC = fileURLToPath(new URL("../src", import.meta.url));
const ROOT = path.dirname(SRC);
const sourcesUnder = (folder: string) =>
	readdirSync(folder, { recursive: true, encoding: "utf8" })
		.filter((file) => file.endsWith(".ts"))
		.map((file) => file.split(path.sep).join("/"));

/** Every import of a file, in order. */
function importsOf(text: string): Import[] {
	const found: Import[] = [];
	const visit = (node: ts.Node): void => {
		if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
			found.push({ specifier: node.moduleSpecifier.text, typeOnly: erased(node.importClause) });
		} else if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
			found.push({ specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly });
		} else if (ts.isCallExpression(node) && isLoad(node) && ts.isStringLiteral(node.arguments[0])) {
			found.push({ specifier: node.arguments[0].text, typeOnly: false });
		} else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
			found.push({ specifier: node.argument.literal.text, typeOnly: true });
		}
		ts.forEachChild(node, visit);
	};
	visit(ts.createSourceFile("file.ts", text, ts.ScriptTarget.Latest, true));
	return found;
}

/** `import type …` and `import { type A }`; a bare `import "x"` runs code. */
function erased(clause: ts.ImportClause | undefined): boolean {
	if (!clause) return false;
	if (clause.isTypeOnly) return true;
	const bindings = clause.namedBindings;
	return !clause.name && bindings !== undefined && ts.isNamedImports(bindings) && bindings.elements.every((element) => element.isTypeOnly);
}

/** `import("x")`, `require("x")` and `createRequire(…)("x")`. */
function isLoad({ expression: callee, arguments: args }: ts.CallExpression): boolean {
	if (args.length === 0) return false;
	if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
	if (ts.isIdentifier(callee)) return callee.text === "require";
	return ts.isCallExpression(callee) && ts.isIdentifier(callee.expression) && callee.expression.text === "createRequire";
}

/** The row that a file of src/ belongs to: the file's own, else its folder's. */
const zoneOf = (file: string) => (file in TABLE ? file : file.split("/")[0]);

/** What is wrong with an import of `file` (relative to src/), or undefined. */
function breach(file: string, { specifier, typeOnly }: Import): string | undefined {
	const zone = zoneOf(file);
	const row = TABLE[zone];
	if (!row) return `${file}: "${zone}" has no row in the table`;
	const said = `${file} imports ${typeOnly ? "types of " : ""}${specifier}`;
	if (!specifier.startsWith(".")) {
		const name = specifier.startsWith("node:") ? specifier.split("/")[0] : packageName(specifier);
		if (name.startsWith("node:") && name !== "node:fs") return undefined;
		if (name === "node:fs" && typeOnly) return undefined;
		return row.packages?.includes(name) ? undefined : `${said}: ${zone} doesn't own ${name}`;
	}
	const target = path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, ".ts");
	if (!existsSync(path.join(SRC, target))) return `${said}: no such file`;
	if (zoneOf(target) === zone) return undefined;
	const allowed = typeOnly ? [...row.imports, ...(row.types ?? [])] : row.imports;
	const ok = allowed.includes(target) || allowed.includes(zoneOf(target));
	return ok ? undefined : `${said}: ${zone} may import ${allowed.join(", ") || "nothing in src"}`;
}

const packageName = (specifier: string) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

describe("the imports of src/", () => {
	it("keep to the table", () => {
		const files = sourcesUnder(SRC);
		expect(files.length).toBeGreaterThan(0);
		const breaches = files.flatMap((file) => importsOf(readFileSync(path.join(SRC, file), "utf8")).map((found) => breach(file, found)));
		expect(breaches.filter((found) => found !== undefined)).toEqual([]);
	});

	it("has a row for nothing that is not there", () => {
		expect(Object.keys(TABLE).filter((zone) => !existsSync(path.join(SRC, zone)))).toEqual([]);
	});

	it.each(["examples", "bench"])("%s are users of the public API", (folder) => {
		const inside = sourcesUnder(path.join(ROOT, folder)).flatMap((file) =>
			importsOf(readFileSync(path.join(ROOT, folder, file), "utf8"))
				.filter(({ specifier }) => specifier.startsWith("."))
				.map(({ specifier }) => path.posix.join(folder, path.posix.dirname(file), specifier))
				.filter((target) => target.startsWith("src/")),
		);
		expect(inside.length).toBeGreaterThan(0);
		expect(inside.filter((target) => target !== "src/index.js" && target !== "src/compile.js" && target !== "src/testing.js")).toEqual([]);
	});
});

describe("the check itself", () => {
	it.each<[string, Import]>([
		['import { a } from "./a.js"', { specifier: "./a.js", typeOnly: false }],
		['import { type A, b } from "./a.js"', { specifier: "./a.js", typeOnly: false }],
		['import { type A, type B } from "./a.js"', { specifier: "./a.js", typeOnly: true }],
		['import type { A } from "./a.js"', { specifier: "./a.js", typeOnly: true }],
		['import "./a.js"', { specifier: "./a.js", typeOnly: false }],
		['export * from "zod"', { specifier: "zod", typeOnly: false }],
		['export type { A } from "./a.js"', { specifier: "./a.js", typeOnly: true }],
		['const a = await import("sharp")', { specifier: "sharp", typeOnly: false }],
		['let a: import("./a.js").A', { specifier: "./a.js", typeOnly: true }],
		['createRequire(import.meta.url)("node-api-headers")', { specifier: "node-api-headers", typeOnly: false }],
	])("reads %s", (text, expected) => expect(importsOf(text)).toEqual([expected]));

	it.each<[string, Import, string | undefined]>([
		["reward/wrong.ts", { specifier: "../backend/tf.js", typeOnly: false }, "reward may import"],
		["reward/wrong.ts", { specifier: "../sampler/rollout.js", typeOnly: false }, "reward may import"],
		["reward/right.ts", { specifier: "../sampler/rollout.js", typeOnly: true }, undefined],
		["sampler/wrong.ts", { specifier: "../model/qwen2_5_vl/load.js", typeOnly: true }, "sampler may import"],
		["sampler/right.ts", { specifier: "../model/generative-model.js", typeOnly: false }, undefined],
		["model/generative-model.ts", { specifier: "./qwen2_5_vl/load.js", typeOnly: true }, "may import"],
		["cli/wrong.ts", { specifier: "../trainer/trainer.js", typeOnly: false }, "cli may import index.ts"],
		["nn/wrong.ts", { specifier: "@tensorflow/tfjs-core", typeOnly: true }, "nn doesn't own"],
		["nn/wrong.ts", { specifier: "node:fs/promises", typeOnly: false }, "nn doesn't own node:fs"],
		["nn/wrong.ts", { specifier: "./no-such-file.js", typeOnly: false }, "no such file"],
		["newcomer/wrong.ts", { specifier: "zod", typeOnly: false }, "no row"],
	])("%s with %o", (file, found, expected) => {
		if (expected === undefined) expect(breach(file, found)).toBeUndefined();
		else expect(breach(file, found)).toContain(expected);
	});
});
