/** The report's plots. Each gives its drawing, with a sentence for those who don't see it. */
import type { CalibrationBin } from "../reward/calibration.js";
import type { Proportion } from "../reward/wilson-interval.js";
import type { ReportData } from "./collect-report.js";
import { drawPlot, type EChartsOption, nameAxis, numberAxis, PLOT_WIDTH, STILL } from "./draw-plot.js";
import type { Html } from "./html.js";
import { number, percent } from "./number.js";

export interface FunnelStep {
	name: string;
	count: number;
}

const LABEL_WIDTH = 168;
const ROW = 30;

/** @param steps each a part of the one before. @param unit what they count */
export function funnelPlot(steps: readonly FunnelStep[], unit: string): Html {
	const most = steps[0]?.count ?? 0;
	const label = ({ count }: FunnelStep) => `${number(count)}${most > 0 ? `  ·  ${percent(count / most)}` : ""}`;
	return drawPlot(
		{
			grid: { left: LABEL_WIDTH + 12, right: 112, top: 4, bottom: 4 },
			xAxis: { type: "value", show: false, min: 0, max: Math.max(1, most) },
			yAxis: rowAxis(steps.map(({ name }) => name)),
			series: [
				{
					...{ type: "bar", ...STILL, barWidth: 18, itemStyle: { color: "var(--kept)", borderRadius: [0, 3, 3, 0] } },
					showBackground: true,
					backgroundStyle: { color: "var(--faint)", borderRadius: [0, 3, 3, 0] },
					data: steps.map(({ count }, i) => ({ value: count, itemStyle: { opacity: 1 - (0.55 * (steps.length - 1 - i)) / steps.length } })),
				},
				// Labels stand at the row's end, whatever the bar's length.
				{
					...{ type: "bar", ...STILL, barGap: "-100%", barWidth: 18, itemStyle: { color: "transparent" } },
					label: {
						show: true,
						position: "right",
						color: "var(--ink)",
						fontSize: 12.5,
						formatter: ({ dataIndex }: { dataIndex: number }) => label(steps[dataIndex]),
					},
					data: steps.map(() => Math.max(1, most)),
				},
			],
		},
		steps.length * ROW + 8,
		`How many ${unit} are left: ${steps.map((step) => `${step.name} ${number(step.count)}`).join(", ")}.`,
	);
}

export interface Share {
	name: string;
	share: Proportion;
	/** Default `--kept`. */
	colour?: string;
}

/** Shares with their 95 % intervals, on one axis from 0 to 100 %. */
export function intervalPlot(shares: readonly Share[], description: string): Html {
	const known = shares.filter(({ share }) => share.of > 0);
	return drawPlot(
		{
			grid: { left: LABEL_WIDTH + 12, right: 84, top: 8, bottom: 26 },
			xAxis: {
				...{ type: "value", min: 0, max: 1, interval: 0.25, ...numberAxis },
				axisLabel: { ...numberAxis.axisLabel, formatter: (value: number) => `${100 * value} %` },
			},
			yAxis: rowAxis(known.map(({ name }) => name)),
			series: [
				{
					...{ type: "custom", silent: true },
					data: known.map(({ share }, i) => [share.value, i, ...share.interval]),
					renderItem: (params, api) => {
						const { share, colour = "var(--kept)" } = known[params.dataIndex];
						const [[low], [high], [x, y]] = [...share.interval, share.value].map((value) => api.coord([value, params.dataIndex]));
						const line = { stroke: colour, lineWidth: 2.5, lineCap: "round" as const };
						return {
							type: "group",
							children: [
								{ type: "line", shape: { x1: low, y1: y, x2: high, y2: y }, style: line },
								{ type: "circle", shape: { cx: x, cy: y, r: 5 }, style: { fill: colour, stroke: "var(--card)", lineWidth: 1.5 } },
								{
									type: "text",
									style: {
										text: percent(share.value),
										x: PLOT_WIDTH - 6,
										y,
										align: "right",
										verticalAlign: "middle",
										fill: "var(--ink)",
										fontSize: 13,
									},
								},
							],
						};
					},
				},
			],
		},
		known.length * ROW + 34,
		`${description}: ${known.map(({ name, share }) => `${name} ${percent(share.value)}`).join(", ")}.`,
	);
}

export interface Bin {
	name: string;
	total: number;
	kept: number;
}

/** How often what was given a probability happened, by that probability; trustworthy probabilities lie on the diagonal. */
export function reliabilityPlot(bins: readonly CalibrationBin[]): Html {
	const filled = bins.filter(({ happened }) => happened.of > 0);
	const axis = { type: "value" as const, min: 0, max: 1, interval: 0.25, ...numberAxis, nameLocation: "middle" as const };
	return drawPlot(
		{
			grid: { left: 62, right: 16, top: 12, bottom: 48 },
			xAxis: { ...axis, name: "probability", nameGap: 30 },
			yAxis: { ...axis, name: "happened", nameGap: 42 },
			series: [
				{
					// The diagonal, and the line through the points: a line series would bring a clip path with an id of its own.
					...{ type: "custom", silent: true },
					data: [[0, 0]],
					renderItem: (_, api) => {
						const [[x1, y1], [x2, y2]] = [api.coord([0, 0]), api.coord([1, 1])];
						const points = filled.map(({ meanProbability, happened }) => api.coord([meanProbability, happened.value]));
						return {
							type: "group",
							children: [
								{ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: "var(--muted)", lineDash: [4, 4] } },
								{ type: "polyline", shape: { points }, style: { stroke: "var(--kept)", lineWidth: 1.5, fill: "none" } },
							],
						};
					},
				},
				{
					...{ type: "custom", silent: true },
					data: filled.map(({ meanProbability, happened }) => [meanProbability, happened.value]),
					renderItem: ({ dataIndex }, api) => {
						const { meanProbability, happened } = filled[dataIndex];
						const [[x, y], [, low], [, high]] = [happened.value, ...happened.interval].map((value) => api.coord([meanProbability, value]));
						const line = { stroke: "var(--kept)", lineWidth: 2, lineCap: "round" as const };
						return {
							type: "group",
							children: [
								{ type: "line", shape: { x1: x, y1: low, x2: x, y2: high }, style: line },
								{ type: "circle", shape: { cx: x, cy: y, r: 4.5 }, style: { fill: "var(--kept)", stroke: "var(--card)", lineWidth: 1.5 } },
							],
						};
					},
				},
			],
		},
		320,
		`Reliability: ${filled.map(({ meanProbability, happened }) => `at ${meanProbability.toFixed(2)} happened ${percent(happened.value)}`).join(", ")}.`,
	);
}

/** Bars of all, and in front of them the kept. */
export function histogramPlot(bins: readonly Bin[], { axis, unit }: { axis: string; unit: string }): Html {
	return drawPlot(
		{
			grid: { left: 52, right: 12, top: 34, bottom: 44 },
			legend: { top: 0, right: 8, itemWidth: 12, itemHeight: 12, itemGap: 16, textStyle: { color: "var(--ink)", fontSize: 12.5 } },
			xAxis: {
				...{ type: "category", data: bins.map(({ name }) => name), ...nameAxis, axisLine: { lineStyle: { color: "var(--line)" } } },
				...{ axisLabel: { color: "var(--muted)", fontSize: 12, hideOverlap: true }, name: axis, nameLocation: "middle", nameGap: 28 },
				nameTextStyle: { color: "var(--muted)", fontSize: 12 },
			},
			yAxis: { type: "value", minInterval: 1, ...numberAxis },
			series: [
				{
					name: `all ${unit}`,
					type: "bar",
					...STILL,
					barCategoryGap: "18%",
					itemStyle: { color: "var(--all)" },
					data: bins.map((bin) => bin.total),
				},
				{ name: "kept", type: "bar", ...STILL, barGap: "-100%", itemStyle: { color: "var(--kept)" }, data: bins.map((bin) => bin.kept) },
			],
		} satisfies EChartsOption,
		240,
		`${axis}, all ${unit} and kept: ${bins.map((bin) => `${bin.name}: ${bin.total}, ${bin.kept} kept`).join("; ")}.`,
	);
}

/** How far each property's distribution moved between all and kept, from 0 to 1. */
export function shiftPlot(shifts: readonly { name: string; shift: number }[]): Html {
	const most = Math.max(0.1, ...shifts.map(({ shift }) => shift));
	return drawPlot(
		{
			grid: { left: LABEL_WIDTH + 12, right: 56, top: 4, bottom: 4 },
			xAxis: { type: "value", show: false, min: 0, max: most },
			yAxis: rowAxis(shifts.map(({ name }) => name)),
			series: [
				{
					...{ type: "bar", ...STILL, barWidth: 14, itemStyle: { color: "var(--kept)", borderRadius: [0, 3, 3, 0] } },
					label: {
						show: true,
						position: "right",
						color: "var(--ink)",
						fontSize: 12.5,
						formatter: ({ value }: { value?: unknown }) => Number(value).toFixed(3),
					},
					data: shifts.map(({ shift }) => shift),
				},
			],
		},
		shifts.length * ROW + 8,
		`Selection shift: ${shifts.map(({ name, shift }) => `${name} ${shift.toFixed(3)}`).join(", ")}.`,
	);
}

/** Rows from the top, their names at the left. */
function rowAxis(names: string[]) {
	return { type: "category" as const, inverse: true, data: names, ...nameAxis, axisLabel: { ...nameAxis.axisLabel, width: LABEL_WIDTH } };
}

/** Lengths in equal bins of a round width, at most 24. */
export function lengthBins(lengths: ReportData["lengths"]): Bin[] {
	const [least, most] = extent([...lengths.keys()]);
	const width = roundUp((most - least + 1) / 24);
	const start = Math.floor(least / width) * width;
	const bins = Array.from({ length: Math.floor((most - start) / width) + 1 }, (_, i) => ({
		name: number(start + i * width),
		total: 0,
		kept: 0,
	}));
	for (const [length, { total, kept }] of lengths) {
		const bin = bins[Math.floor((length - start) / width)];
		bin.total += total;
		bin.kept += kept;
	}
	return bins;
}

function extent(values: readonly number[]): [number, number] {
	return values.reduce<[number, number]>(
		([low, high], value) => [Math.min(low, value), Math.max(high, value)],
		[values[0] ?? 0, values[0] ?? 0],
	);
}

/** 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
	const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
	return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

/** One bar per number of right judgements where every record has equally many (up to 16), else tenths. */
export function passRateBins(passRates: ReportData["passRates"]): Bin[] {
	const pairs = [...passRates].map(([key, counts]) => ({ right: Number(key.split("/")[0]), of: Number(key.split("/")[1]), ...counts }));
	const judged = pairs.filter(({ of }) => of > 0);
	const [, most] = extent(judged.map(({ of }) => of));
	const even = most <= 16 && judged.every(({ of }) => of === most);
	const names = even
		? Array.from({ length: most + 1 }, (_, right) => `${right}/${most}`)
		: ["0", ...Array.from({ length: 9 }, (_, i) => `.${i + 1}`), "1"];
	const bins = names.map((name) => ({ name, total: 0, kept: 0 }));
	for (const { right, of, total, kept } of judged) {
		const bin = bins[even ? right : tenth(right, of)];
		bin.total += total;
		bin.kept += kept;
	}
	return bins;
}

/** The nearest tenth; 0 and 1 stand for themselves. */
function tenth(right: number, of: number): number {
	if (right === 0) return 0;
	return right === of ? 10 : Math.min(9, Math.max(1, Math.round((10 * right) / of)));
}
