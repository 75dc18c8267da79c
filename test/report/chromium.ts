/**
 * A real browser for the report's tests: the machine's Chromium or Chrome, else Debian's chromium, installed here where apt-get can (CI's containers run
 * as root). Where there is none to be had the tests fail and say so.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
const ELSEWHERE = [
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	"/Applications/Chromium.app/Contents/MacOS/Chromium",
	"C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];
const INSTALL = "apt-get install -y --no-install-recommends chromium";

/** @throws Error where there is no browser and none can be installed */
export async function openBrowser(): Promise<Browser> {
	const executablePath = findChromium() ?? installChromium();
	return chromium.launch({ executablePath });
}

function findChromium(): string | undefined {
	if (process.env.CHROMIUM) return process.env.CHROMIUM;
	const folders = (process.env.PATH ?? "").split(delimiter);
	return [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), ...ELSEWHERE].find(isExecutable);
}

function isExecutable(file: string): boolean {
	try {
		accessSync(file, constants.X_OK);
		return true;
	} catch {
		return false;
	}
}

function installChromium(): string {
	try {
		if (process.platform !== "linux" || process.getuid?.() !== 0) throw new Error("not root on Linux");
		const options = { stdio: "pipe", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } } as const;
		execFileSync("sh", ["-c", `${INSTALL} || (apt-get update && ${INSTALL})`], options);
	} catch (cause) {
		const message = `expected Chromium or Chrome on the PATH, or in the variable CHROMIUM, got none, and it can't be installed here; as root: ${INSTALL}`;
		throw new Error(message, { cause });
	}
	const installed = findChromium();
	if (installed === undefined) throw new Error(`${INSTALL} succeeded, but there is no chromium on the PATH; set CHROMIUM to its path`);
	return installed;
}
