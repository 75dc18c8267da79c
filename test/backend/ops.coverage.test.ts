/**
 * Nothing escapes the contract: every op that src/ imports from backend/tf.ts stands in ops.cases.ts (or in ops.contract.ts, for what
 * takes functions).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));
/** Not kernels: the engine's own functions, and host arrays made tensors, which every test does. */
const NOT_OPS =
	/^(dispose|env|getBackend|backend|findBackend|keep|registerBackend|removeBackend|setBackend|tidy|variable|engine|ready|memory|scalar|tensor(\dd)?|Variable)$/;

function opsInUse(): Set<string> {
	const ops = new Set<string>();
	for (const file of readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))) {
		const text = readFileSync(join(SRC, file), "utf8");
		for (const [, names] of text.matchAll(/import \{([^}]*)\} from "[./]*(?:backend)?\/tf\.js"/g)) {
			for (const name of names.split(",").map((n) => n.trim())) if (name && !name.startsWith("type ") && !NOT_OPS.test(name)) ops.add(name);
		}
	}
	return ops;
}

it("every op in use has a case", () => {
	const contract = ["ops.cases.ts", "ops.contract.ts"].map((file) => readFileSync(new URL(file, import.meta.url), "utf8")).join("\n");
	const used = opsInUse();
	expect(used.size).toBeGreaterThan(20);
	expect(used).toContain("matMul");
	const called = (op: string) => new RegExp(`\\btf\\.${op}\\b`).test(contract);
	expect([...used].filter((op) => !called(op))).toEqual([]);
});
