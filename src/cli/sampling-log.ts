/**
 * The sampling stage's numbers in TensorBoard and for Weights & Biases: what became of rows and judgements, by the judgements so far. They are in a folder of
 * their own inside the log folder, since their steps are judgements and not those of training.
 */
import { join } from "node:path";
import { type FilterReport, MetricsLog, type RowCounts, samplingScalars } from "../index.js";
import { clearOutputs, SAMPLING_LOGS } from "./outputs.js";

/** Records between two points of the curves. */
const EVERY = 50;

export interface SamplingLog extends AsyncDisposable {
	/** To be called after each record. */
	update(report: () => FilterReport): Promise<void>;
	/** Writes the last point. */
	end(report: FilterReport): Promise<void>;
}

export const samplingLogFolder = (logDir: string) => join(logDir, SAMPLING_LOGS);

/** Begins anew: what a stopped run had logged comes again from its journal. @param input what the rows came to */
export async function openSamplingLog(logDir: string, input?: RowCounts): Promise<SamplingLog> {
	const folder = samplingLogFolder(logDir);
	await clearOutputs({ logs: folder });
	const log = await MetricsLog.open(folder);
	let [records, written] = [0, -1];
	const write = async (report: FilterReport) => {
		if (report.total !== written) await log.write(report.total, samplingScalars(report, input));
		written = report.total;
	};
	return {
		async update(report) {
			if (++records % EVERY === 0) await write(report());
		},
		end: write,
		[Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
	};
}
