/** The lock file works for everyone: on any platform, with any registry. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { missingOptional } from "./complete-lock.js";

it("names no registry", () => {
	const lock = readFileSync(fileURLToPath(new URL("../../package-lock.json", import.meta.url)), "utf8");
	expect(lock).toContain('"lockfileVersion": 3');
	expect(lock).not.toMatch(/"resolved"|registry/);
});

it("has every platform's binaries, or `npm ci` refuses it; complete-lock.ts puts them in", () => {
	expect(missingOptional().map(({ name }) => name)).toEqual([]);
	const lock = { "": {}, "node_modules/a": { optionalDependencies: { "a-linux-x64": "1.0.0", b: "1.0.0" } }, "node_modules/b": {} };
	expect(missingOptional(lock).map(({ name }) => name)).toEqual(["a-linux-x64"]);
});
