/** The journal that `sample` and `run` draw into: opened for exactly their options, and what is said about it. */
import {
	baseFolder,
	checkpointDigest,
	cotConfiguration,
	type GenerateCotOptions,
	type GenerativeModel,
	isAdapterFolder,
	type Journal,
	type JournalConfiguration,
	JournalError,
	openJournal,
} from "../index.js";
import { guidingOptions } from "./guiding.js";
import type { DrawOptions } from "./options.js";
import { isRemote, parseRemoteJudge } from "./remote-judge.js";
import type { Session } from "./session.js";
import { UsageError } from "./usage-error.js";

/** `generateCoT`'s options of a command's. */
export function drawingOptions(options: DrawOptions, promptTemplate: string | undefined): GenerateCotOptions {
	return {
		...{ promptTemplate, useCot: options.use_cot, seed: options.seed, temperature: options.temperature },
		...{ batchSize: options.batch_size, maxNewTokens: options.max_new_tokens, samplesPerRecord: options.samples_per_record },
		...{ topP: options.top_p, topK: options.top_k, minP: options.min_p, repetitionPenalty: options.repetition_penalty },
		...guidingOptions(options),
	};
}

/**
 * With `--overwrite`, too, nothing that was drawn is thrown away: a journal of the same configuration is gone on from, another one put aside.
 * @throws UsageError where another process writes it or it is of another configuration; JournalError where it is damaged or can't be written
 */
export async function openSampleJournal(
	file: string,
	model: GenerativeModel,
	promptTemplate: string | undefined,
	options: DrawOptions,
	{ note, signal }: Session,
): Promise<Journal> {
	const configuration = cotConfiguration(await describeJudge(model, options, signal), drawingOptions(options, promptTemplate));
	const notes = {
		useCot: options.use_cot,
		...(!isRemote(options.model_path) && { modelPath: options.model_path }),
		dataPath: options.data_path.join(","),
		begun: new Date().toISOString(),
	};
	const open = (forceNew: boolean) => openJournal(file, { configuration, notes, forceNew });
	const journal = await open(options.force_new).catch((error) => {
		if (!(error instanceof JournalError)) throw error;
		if (error.kind === "mismatch" && options.overwrite) return open(true);
		if (error.kind === "mismatch")
			throw new UsageError(`${error.message} with --force_new (this one keeps its content under another name)`);
		throw error.kind === "locked" ? new UsageError(error.message) : error;
	});
	for (const line of remarks(journal)) note(line);
	return journal;
}

/** Of a remote judge only its name is known: who serves other weights under it must begin a new journal. */
async function describeJudge(
	model: GenerativeModel,
	{ model_path, adapter: given, min_pixels, max_pixels }: DrawOptions,
	signal: AbortSignal,
): Promise<Pick<JournalConfiguration, "model" | "processor">> {
	if (isRemote(model_path)) return { model: { remote: parseRemoteJudge(model_path).model }, processor: {} };
	const digest = await checkpointDigest(await baseFolder(model_path), { signal });
	const adapter = given ?? (isAdapterFolder(model_path) ? model_path : undefined);
	const added = adapter === undefined ? undefined : (await checkpointDigest(adapter, { signal })).model;
	const sizes = { ...(min_pixels && { minPixels: min_pixels }), ...(max_pixels && { maxPixels: max_pixels }) };
	return {
		model: { files: digest.model, ...(added && { adapter: added }), ...("dtype" in model && { dtype: String(model.dtype) }) },
		processor: { files: digest.processor, ...sizes },
	};
}

function remarks({ file, size, state: { cutBytes, duplicates, setAside } }: Journal): string[] {
	return [
		...(setAside === undefined ? [] : [`journal: a new one is begun; the one that was there is ${setAside}`]),
		...(cutBytes > 0 ? [`journal: its last ${cutBytes} bytes were torn and are cut off; what they held is drawn again`] : []),
		...(duplicates > 0 ? [`journal: ${duplicates} repeated lines are not read; \`tfjs-rft compact ${file}\` takes them out`] : []),
		...(size > 0 ? [`journal: going on from the ${size} judgements in ${file}`] : []),
	];
}
