/**
 * How far stated probabilities can be trusted: a reliability table with intervals, the expected calibration error (ECE), the Brier score, and the
 * area under the ROC curve (AUC), over observations of one kind of event.
 *
 * Bins have equal widths over [0, 1] and hold `from < p ≤ to` (0 is in the first), as scikit-learn's `calibration_curve` has them. Of an observation only
 * counts are kept, so that memory does not grow with their number; for the AUC probabilities count as equal that are equal to four decimals.
 */
import { formatProportion, type Proportion, proportion } from "./wilson-interval.js";

export interface CalibrationBin {
	from: number;
	to: number;
	/** Mean of the probabilities in it; NaN (null in JSON) where it is empty. */
	meanProbability: number;
	/** How often the event happened, with Wilson's 95 % interval; `of` is the bin's size. */
	happened: Proportion;
}

export interface Calibration {
	/** Observations. */
	n: number;
	/** How often the event happened. */
	baseRate: Proportion;
	/** How often the likelier of both was what happened; at 0.5 neither is. */
	accuracy: Proportion;
	/** Mean over observations of their bin's |share that happened − mean probability|; NaN (null in JSON) where there are none. */
	ece: number;
	/** Mean of (probability − 1 or 0)²: 0 is best, 0.25 what "always 0.5" has; NaN (null in JSON) where there are none. */
	brier: number;
	/** How often an event that happened had the higher probability than one that did not, ties half; NaN (null in JSON) where one kind is missing. */
	auc: number;
	/** All bins, empty ones too. */
	bins: CalibrationBin[];
}

/** One prediction: the probability that was given, and whether the event happened. */
export interface Observation {
	probability: number;
	happened: boolean;
}

export interface CalibrationOptions {
	/** Bins of equal width. Default 10. */
	bins?: number;
}

/** Takes observations one by one, and says at any time what they come to. */
export interface CalibrationCollector {
	/** @throws RangeError for what is no probability */
	add(observation: Observation): void;
	calibration(): Calibration;
}

/** Steps of probabilities that the AUC tells apart. */
const STEPS = 10_000;

/** @throws RangeError for a number that is no probability, or bins that are no whole number, 1 or more */
export function calibrate(observations: Iterable<Observation>, options: CalibrationOptions = {}): Calibration {
	const collector = collectCalibration(options);
	for (const observation of observations) collector.add(observation);
	return collector.calibration();
}

export function collectCalibration({ bins: binCount = 10 }: CalibrationOptions = {}): CalibrationCollector {
	if (!Number.isInteger(binCount) || binCount < 1)
		throw new RangeError(`calibration: bins: expected a whole number, 1 or more, got ${binCount}`);
	const bins = Array.from({ length: binCount }, () => ({ count: 0, happened: 0, sum: 0 }));
	/** By rounded probability: those that happened, those that did not. */
	const [yes, no] = [new Float64Array(STEPS + 1), new Float64Array(STEPS + 1)];
	let [n, happenings, right, squares] = [0, 0, 0, 0];
	return {
		add({ probability, happened }) {
			if (!(probability >= 0 && probability <= 1))
				throw new RangeError(`calibration: expected a probability from 0 to 1, got ${probability}`);
			const bin = bins[binOf(probability, binCount)];
			bin.count++;
			bin.sum += probability;
			if (happened) bin.happened++;
			(happened ? yes : no)[Math.round(probability * STEPS)]++;
			n++;
			if (happened) happenings++;
			if (happened ? probability > 0.5 : probability < 0.5) right++;
			squares += (probability - (happened ? 1 : 0)) ** 2;
		},
		calibration() {
			const gaps = bins.reduce((sum, { happened, sum: total }) => sum + Math.abs(happened - total), 0);
			return {
				n,
				baseRate: proportion(happenings, n),
				accuracy: proportion(right, n),
				ece: gaps / n,
				brier: squares / n,
				auc: areaUnderCurve(yes, no),
				bins: bins.map(({ count, happened, sum }, i) => {
					return { from: i / binCount, to: (i + 1) / binCount, meanProbability: sum / count, happened: proportion(happened, count) };
				}),
			};
		},
	};
}

function binOf(probability: number, bins: number): number {
	const bin = Math.max(0, Math.ceil(probability * bins) - 1);
	return bin > 0 && probability <= bin / bins ? bin - 1 : bin; // 0.7 · 10 is 7.000…1
}

/** Mann and Whitney's U over the number of pairs. */
function areaUnderCurve(yes: Float64Array, no: Float64Array): number {
	let [below, wins, happened] = [0, 0, 0];
	for (let step = 0; step <= STEPS; step++) {
		wins += yes[step] * (below + no[step] / 2);
		below += no[step];
		happened += yes[step];
	}
	return wins / (happened * below);
}

/** As lines of text; the table's rows are those that hold something. @param event what the probabilities are of */
export function formatCalibration({ n, accuracy, ece, brier, auc, bins }: Calibration, event: string, { table = true } = {}): string[] {
	const number = (value: number) => (Number.isNaN(value) ? "–" : value.toFixed(3));
	const filled = table ? bins.filter(({ happened }) => happened.of > 0) : [];
	return [
		`${event}: scored: ${n}`,
		`${event}: likelier one right: ${formatProportion(accuracy)}`,
		`${event}: expected calibration error, ${bins.length} bins: ${number(ece)}`,
		`${event}: Brier score: ${number(brier)}`,
		`${event}: AUC: ${number(auc)}`,
		...filled.map(({ from, to, meanProbability, happened }) => {
			const band = `${from.toFixed(2)}–${to.toFixed(2)}`;
			return `${event}: probability ${band}, mean ${number(meanProbability)}: happened ${formatProportion(happened)} of ${happened.of}`;
		}),
	];
}
