/**
 * A log of JSON lines, each with the step that it is of. Appended to as a run goes; a resumed run leaves out the lines of steps that will come
 * again. A kill cuts off the last line at most, and that is taken away when the file is opened again.
 */
import { existsSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { writeWhole } from "../checkpoint/write-whole.js";

type Line = Readonly<Record<string, unknown>>;

export class StepLines implements AsyncDisposable {
	private constructor(
		private readonly handle: FileHandle,
		private end: number,
		/** The last line that was there; none in a new file. */
		readonly last: Line | undefined,
	) {}

	/**
	 * Opens the file, or makes it.
	 * @param stepKey what the step is called in a line
	 * @param fromStep a resumed run goes on from it. Default: all lines stay.
	 */
	static async open(file: string, stepKey: string, fromStep?: number): Promise<StepLines> {
		if (fromStep !== undefined && existsSync(file)) await dropLaterLines(file, stepKey, fromStep);
		const there = existsSync(file) ? await readFile(file, "utf8") : "";
		const whole = there.slice(0, there.lastIndexOf("\n") + 1);
		const end = Buffer.byteLength(whole);
		const handle = await open(file, existsSync(file) ? "r+" : "w");
		await handle.truncate(end);
		return new StepLines(handle, end, parseLine(whole.split("\n").at(-2)));
	}

	/** Adds a line. */
	async add(line: Line): Promise<void> {
		await this.write(`${JSON.stringify(line)}\n`, this.end);
	}

	/** Adds fields to the last line, which has none of these names; what is there is not written again. */
	async extend(fields: Line): Promise<void> {
		if (Object.keys(fields).length === 0) return;
		await this.write(`,${JSON.stringify(fields).slice(1)}\n`, this.end - "}\n".length);
	}

	private async write(text: string, at: number): Promise<void> {
		const bytes = Buffer.from(text);
		await this.handle.write(bytes, 0, bytes.length, at);
		this.end = at + bytes.length;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.handle.close();
	}
}

/** Also a last line that was cut off. */
async function dropLaterLines(file: string, stepKey: string, step: number): Promise<void> {
	const lines = (await readFile(file, "utf8")).split("\n").filter((line) => {
		const found = parseLine(line)?.[stepKey];
		return typeof found === "number" && found <= step;
	});
	await writeWhole(file, (handle) => handle.writeFile(lines.map((line) => `${line}\n`).join("")));
}

/** Nothing for a line that was cut off. */
function parseLine(line = ""): Line | undefined {
	if (!/^\{.*\}$/.test(line)) return undefined;
	try {
		return JSON.parse(line) as Line;
	} catch {
		return undefined;
	}
}
