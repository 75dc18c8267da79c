/**
 * Puts into package-lock.json the binaries for other machines that npm left out: `npx tsx test/package/complete-lock.ts`.
 *
 * A registry that mirrors only some platforms makes npm write a lock without the others, and `npm ci` then refuses that lock
 * ("Missing: @rollup/rollup-darwin-arm64@ from lock file"). What an entry needs to be passed over on the wrong machine is in its
 * name. Such an entry has no integrity hash until npm sees the package.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

interface Entry {
	version?: string;
	dev?: boolean;
	optionalDependencies?: Record<string, string>;
	[field: string]: unknown;
}
interface Missing {
	parent: Entry;
	name: string;
	version: string;
}

const LOCK = fileURLToPath(new URL("../../package-lock.json", import.meta.url));
const OS = "android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32";
const PLATFORM = new RegExp(`(${OS})-(arm64|arm|ia32|loong64|ppc64|riscv64|s390x|x64)(?:-(\\w+))?$`);

function readLock(): { packages: Record<string, Entry> } {
	return JSON.parse(readFileSync(LOCK, "utf8"));
}

/** Optional dependencies that no entry of the lock answers. */
export function missingOptional(packages = readLock().packages): Missing[] {
	return Object.entries(packages).flatMap(([at, parent]) =>
		Object.entries(parent.optionalDependencies ?? {})
			.filter(([name]) => !folders(at).some((folder) => `${folder}node_modules/${name}` in packages))
			.map(([name, version]) => ({ parent, name, version })),
	);
}

/** Where Node looks from a package: "node_modules/a/node_modules/b" → that, "node_modules/a", and the root. */
function folders(at: string): string[] {
	if (at === "") return [""];
	return [`${at}/`, ...folders(at.slice(0, Math.max(0, at.lastIndexOf("node_modules/") - 1)))];
}

function entryFor({ parent, name, version }: Missing): Entry {
	const platform = PLATFORM.exec(name);
	if (!platform || /[^\d.]/.test(version)) throw new Error(`${name}@${version}: expected a platform in the name and an exact version`);
	const [, os, cpu, abi = ""] = platform;
	const libc = os !== "linux" ? undefined : abi.startsWith("musl") ? "musl" : abi.startsWith("gnu") ? "glibc" : undefined;
	return { version, cpu: [cpu], ...(parent.dev && { dev: true }), ...(libc && { libc: [libc] }), optional: true, os: [os] };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
	const lock = readLock();
	const missing = missingOptional(lock.packages);
	for (const item of missing) lock.packages[`node_modules/${item.name}`] = entryFor(item);
	lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")));
	writeFileSync(LOCK, `${JSON.stringify(lock, null, "\t")}\n`);
	console.log(`${missing.length} entries added`);
}
