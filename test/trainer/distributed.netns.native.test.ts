/** Two processes in two network namespaces, as on two machines: addresses of their own, nothing shared but files. Needs root. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { resultsOf, startWorkers } from "./start-workers.js";
import { workerRun } from "./worker-run.js";

const NAMES = [0, 1].map((i) => `rft-${process.pid}-${i}`);
const ADDRESSES = ["10.99.7.1", "10.99.7.2"];
const ip = (...args: string[]) => spawnSync("ip", args).status === 0;

function makeNamespaces(): boolean {
	const links = NAMES.map((_, i) => `rft${process.pid % 100000}-${i}`);
	return (
		NAMES.every((name) => ip("netns", "add", name)) &&
		ip("link", "add", links[0], "type", "veth", "peer", "name", links[1]) &&
		NAMES.every(
			(name, i) =>
				ip("link", "set", links[i], "netns", name) &&
				ip("-n", name, "addr", "add", `${ADDRESSES[i]}/24`, "dev", links[i]) &&
				ip("-n", name, "link", "set", links[i], "up") &&
				ip("-n", name, "link", "set", "lo", "up"),
		)
	);
}
const removeNamespaces = () => NAMES.forEach((name) => void ip("netns", "del", name));

const missing = nativeMissing ?? (makeNamespaces() ? undefined : "no network namespaces can be made here");

describe.skipIf(missing)(`training in two network namespaces (${missing ?? "made"})`, () => {
	const options = { maxSteps: 2, saveSteps: 100 };
	let scratch: string;
	let straight: Awaited<ReturnType<typeof workerRun>>;
	beforeAll(async () => {
		scratch = await mkdtemp(path.join(tmpdir(), "rft-netns-"));
		straight = await workerRun({ savePath: path.join(scratch, "straight"), options });
	});
	afterAll(async () => {
		removeNamespaces();
		await rm(scratch, { recursive: true });
	});

	it.each([0, 1, 2] as const)("is training in one process, with ZeRO stage %i", async (zeroStage) => {
		const workers = ADDRESSES.map((address) => `${address}:${4400 + zeroStage}`);
		const run = { savePath: path.join(scratch, `of-2-${zeroStage}`), options: { ...options, zeroStage } };
		const results = await resultsOf(startWorkers(run, workers, (rank) => ["ip", "netns", "exec", NAMES[rank]]));
		for (const { history } of results) {
			expect(history.map(({ tokens }) => tokens)).toEqual(straight.history.map(({ tokens }) => tokens));
			for (const [i, { loss }] of history.entries()) expect(Math.abs(loss / straight.history[i].loss - 1)).toBeLessThan(1e-5);
		}
	});
});
if (missing) removeNamespaces();
