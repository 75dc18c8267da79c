/**
 * A plot as SVG markup, by ECharts without a browser: the page then needs no program to show it. Colours are CSS variables of the page (style.ts), so that
 * a plot follows the light and the dark theme. What ECharts adds for its own events (ids, hover styles) is taken out: the same numbers give the same bytes.
 */
import type { EChartsOption } from "echarts";
import { BarChart, CustomChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { type Html, html, trusted } from "./html.js";

export type { EChartsOption };

/** In units of the drawing; the page scales it to its column. */
export const PLOT_WIDTH = 520;

const DEFAULTS: EChartsOption = { animation: false, textStyle: { fontFamily: "inherit", fontSize: 13, color: "var(--ink)" } };

/** @param description says in words what is to be seen, for those who don't see it. */
export function drawPlot(option: EChartsOption, height: number, description: string): Html {
	use([BarChart, CustomChart, GridComponent, LegendComponent, SVGRenderer]);
	const chart = init(null, null, { renderer: "svg", ssr: true, width: PLOT_WIDTH, height });
	chart.setOption({ ...DEFAULTS, ...option });
	const svg = chart.renderToSVGString();
	chart.dispose();
	const drawing = svg
		.replace(/^<svg[^>]*>/, "")
		.replace(/<style\s*>[\s\S]*?<\/style>/g, "")
		.replace(/ (class|ecmeta_\w+)="[^"]*"/g, "");
	return html`<svg viewBox="0 0 ${PLOT_WIDTH} ${height}" role="img" aria-label="${description}">${trusted(drawing)}`;
}

/** Of an axis that holds names. */
export const nameAxis = {
	axisLine: { show: false },
	axisTick: { show: false },
	axisLabel: { color: "var(--ink)", fontSize: 13, overflow: "truncate" as const },
};

/** Of an axis of numbers. */
export const numberAxis = {
	axisLine: { show: false },
	axisTick: { show: false },
	axisLabel: { color: "var(--muted)", fontSize: 12 },
	splitLine: { lineStyle: { color: "var(--line)" } },
	nameTextStyle: { color: "var(--muted)", fontSize: 12 },
};

export const STILL = { emphasis: { disabled: true }, silent: true };
