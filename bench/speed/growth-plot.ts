/** bench/growth.ts' curves as one SVG: a panel each, both axes logarithmic, so that a straight line at 45° is cost in proportion to size. */
import { type EChartsOption, init } from "echarts";

/** Least seconds per side at one size. */
export interface Point {
	/** Tokens, or GiB. */
	size: number;
	seconds: { ours: number; eager?: number; peer?: number };
}
export interface Curve {
	title: string;
	unit: "tokens" | "GiB";
	points: Point[];
}

const PANEL = { width: 300, height: 250, gap: 70, top: 70, left: 60 };
const SIDES: Record<keyof Point["seconds"], string> = { ours: "tfjs-rft", eager: "tfjs-rft, eager", peer: "transformers + PyTorch" };

/** @returns a whole SVG document */
export function drawGrowth(curves: readonly Curve[]): string {
	const width = PANEL.left + curves.length * (PANEL.width + PANEL.gap);
	const chart = init(null, null, { renderer: "svg", ssr: true, width, height: PANEL.top + PANEL.height + 60 });
	chart.setOption(options(curves));
	const svg = chart.renderToSVGString();
	chart.dispose();
	return svg;
}

function options(curves: readonly Curve[]): EChartsOption {
	const left = (panel: number) => PANEL.left + panel * (PANEL.width + PANEL.gap);
	return {
		animation: false,
		backgroundColor: "#fff",
		legend: { top: 8, itemGap: 30, data: measuredSides(curves).map((side) => SIDES[side]) },
		title: curves.map(({ title }, i) => ({ text: `${title}, s`, left: left(i), top: 36, textStyle: { fontSize: 13 } })),
		grid: curves.map((_, i) => ({ left: left(i), top: PANEL.top, width: PANEL.width, height: PANEL.height })),
		xAxis: curves.map(({ unit }, gridIndex) => ({ type: "log", logBase: 2, gridIndex, name: unit, nameLocation: "middle", nameGap: 28 })),
		yAxis: curves.map((_, gridIndex) => ({ type: "log", gridIndex, minorTick: { show: true }, minorSplitLine: { show: true } })),
		series: curves.flatMap(({ points }, panel) =>
			measuredSides(curves).map((side) => ({
				type: "line" as const,
				name: SIDES[side],
				xAxisIndex: panel,
				yAxisIndex: panel,
				data: points.flatMap(({ size, seconds }) => (seconds[side] === undefined ? [] : [[size, seconds[side]]])),
			})),
		),
	};
}

function measuredSides(curves: readonly Curve[]): (keyof Point["seconds"])[] {
	const measured = (side: keyof Point["seconds"]) => curves.some(({ points }) => points.some(({ seconds }) => seconds[side] !== undefined));
	return (Object.keys(SIDES) as (keyof Point["seconds"])[]).filter(measured);
}
