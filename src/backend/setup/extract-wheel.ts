/**
 * Takes libtensorflow and its C headers out of the wheel: some 70 of its 15,600 files.
 *
 * Each file is streamed and checked against the SHA-256 that the wheel's own RECORD gives (PEP 376 form:
 * `path,sha256=<urlsafe base64>,size`). The caller renames the folder when all is done.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import yauzl, { type Entry, type ZipFile } from "yauzl";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";
import { TENSORFLOW_VERSION } from "./tensorflow-release.js";

const LIBRARY = /^tensorflow\/libtensorflow_(cc|framework)\.so\.2$/;
/** What `tensorflow/c/…` includes, found with `g++ -M`. */
const HEADER = /^tensorflow\/include\/(tensorflow\/c\/.*\.h|xla\/tsl\/c\/.*\.h|(tensorflow\/core|tsl)\/platform\/ctstring(_internal)?\.h)$/;
const METADATA = /^[^/]+\.dist-info\/(METADATA|RECORD|LICENSE|licenses\/LICENSE)$/;

/**
 * Extracts what the addon needs into `folder` (made if missing).
 *
 * @param wheelPath the wheel; its contents decide, not its name
 * @throws SetupError (`extract`) when it is no wheel of the TensorFlow release, or damaged
 */
export async function extractWheel(
	wheelPath: string,
	folder: string,
	{ signal, onProgress }: { signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<void> {
	const fail = (problem: string, cause?: unknown) =>
		new SetupError({
			step: "extract",
			problem: `${wheelPath}: ${problem}`,
			wayOut: isDiskFull(cause)
				? "make room on the disk and run setup again, or name another folder in TFJS_RFT_CACHE"
				: "remove the file and run setup again, or pass another wheel with --wheel",
			cause,
		});
	try {
		const zip = await openZip(wheelPath);
		const entries = await wantedEntries(zip);
		const digests = await readRecord(zip, entries);
		const missing = missingParts(entries);
		if (missing) throw fail(`not a TensorFlow ${TENSORFLOW_VERSION} wheel for Linux: ${missing}`);
		await extractEntries(zip, entries, digests, folder, { signal, onProgress });
		zip.close();
	} catch (error) {
		if (error instanceof SetupError || signal?.aborted) throw error;
		throw fail((error as Error).message, error);
	}
}

function isDiskFull(error: unknown): boolean {
	return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

function openZip(file: string): Promise<ZipFile> {
	return promisify<string, yauzl.Options, ZipFile>(yauzl.open)(file, { lazyEntries: true, autoClose: false });
}

function openEntry(zip: ZipFile, entry: Entry): Promise<Readable> {
	return new Promise((resolve, reject) => {
		zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)));
	});
}

/** Reads the zip's directory to its end. */
function wantedEntries(zip: ZipFile): Promise<Entry[]> {
	return new Promise((resolve, reject) => {
		const entries: Entry[] = [];
		zip.on("entry", (entry: Entry) => {
			if ([LIBRARY, HEADER, METADATA].some((pattern) => pattern.test(entry.fileName))) entries.push(entry);
			zip.readEntry();
		});
		zip.on("end", () => resolve(entries));
		zip.on("error", reject);
		zip.readEntry();
	});
}

function missingParts(entries: readonly Entry[]): string | undefined {
	const libraries = entries.filter((entry) => LIBRARY.test(entry.fileName)).length;
	if (libraries !== 2) return "libtensorflow_cc.so.2 or libtensorflow_framework.so.2 is not in it";
	if (!entries.some((entry) => entry.fileName.includes(`-${TENSORFLOW_VERSION}.dist-info/`))) return "it is another version";
	return undefined;
}

async function readRecord(zip: ZipFile, entries: readonly Entry[]): Promise<Map<string, string>> {
	const record = entries.find((entry) => entry.fileName.endsWith(".dist-info/RECORD"));
	if (!record) return new Map();
	const lines = (await text(await openEntry(zip, record))).split("\n");
	const digests = lines.map((line) => /^(.*),sha256=([\w-]+),\d+$/.exec(line.trim()));
	return new Map(digests.flatMap((match) => (match ? [[match[1], match[2]]] : [])));
}

async function extractEntries(
	zip: ZipFile,
	entries: readonly Entry[],
	digests: ReadonlyMap<string, string>,
	folder: string,
	{ signal, onProgress }: { signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<void> {
	const totalBytes = entries.reduce((sum, entry) => sum + entry.uncompressedSize, 0);
	let doneBytes = 0;
	let reported = 0;
	for (const entry of entries) {
		const target = path.join(folder, entry.fileName);
		await mkdir(path.dirname(target), { recursive: true });
		const hash = createHash("sha256");
		const measure = async function* (source: AsyncIterable<Buffer>) {
			for await (const chunk of source) {
				hash.update(chunk);
				doneBytes += chunk.length;
				if (doneBytes - reported > 4e6 || doneBytes === totalBytes) {
					reported = doneBytes;
					onProgress({ step: "extract", detail: "libtensorflow", doneBytes, totalBytes });
				}
				yield chunk;
			}
		};
		await pipeline(await openEntry(zip, entry), measure, createWriteStream(target), { signal });
		const expected = digests.get(entry.fileName);
		const got = hash.digest("base64url");
		if (expected && got !== expected) {
			throw new Error(`${entry.fileName} has SHA-256 ${got} but the wheel's RECORD says ${expected}; the file is damaged`);
		}
	}
}
