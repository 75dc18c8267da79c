/** Held-out accuracy by round: a line for each seed, and their mean with its interval. */
import { type EChartsOption, init } from "echarts";
import type { Interval } from "./statistics.js";

export interface RoundsPlot {
	/** From round 0, the judge that all begin with. */
	seeds: { seed: number; accuracy: number[] }[];
	mean: Interval[];
}

const percent = (share: number) => Number((100 * share).toFixed(2));

/** @returns a whole SVG document */
export function drawRounds(plot: RoundsPlot): string {
	const chart = init(null, null, { renderer: "svg", ssr: true, width: 560, height: 360 });
	chart.setOption(options(plot));
	const svg = chart.renderToSVGString();
	chart.dispose();
	return svg;
}

function options({ seeds, mean }: RoundsPlot): EChartsOption {
	const grey = "#9aa5b1";
	const interval = (round: number) => ({ xAxis: round, lineStyle: { color: "#1f5fbf", width: 2, type: "solid" as const } });
	return {
		animation: false,
		backgroundColor: "#fff",
		title: { text: "Held-out accuracy by round, %", left: 20, top: 10, textStyle: { fontSize: 14 } },
		legend: { top: 36, left: 16, data: ["mean, 95 % bars", ...seeds.map(({ seed }) => `seed ${seed}`)] },
		grid: { left: 60, right: 30, top: 80, bottom: 50 },
		xAxis: { type: "category", name: "round", nameLocation: "middle", nameGap: 30, data: mean.map((_, round) => `${round}`) },
		yAxis: { type: "value", min: 60, max: 90 },
		series: [
			{
				...{ type: "line", name: "mean, 95 % bars", color: "#1f5fbf", symbolSize: 8, lineStyle: { width: 3 } },
				data: mean.map((round) => percent(round.mean)),
				markLine: {
					...{ silent: true, symbol: "none", label: { show: false } },
					data: mean.map(({ ci }, round) => [
						{ ...interval(round), yAxis: percent(ci[0]) },
						{ xAxis: round, yAxis: percent(ci[1]) },
					]),
				},
			},
			...seeds.map(({ seed, accuracy }, i) => ({
				...{ type: "line" as const, name: `seed ${seed}`, color: grey, symbol: ["circle", "rect", "triangle"][i % 3] },
				lineStyle: { width: 1, type: "dashed" as const },
				data: accuracy.map(percent),
			})),
		],
	};
}
