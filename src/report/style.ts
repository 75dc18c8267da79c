/** The page's looks: one column of cards, the system's own typeface, colours for light and dark with a contrast of 4.5 or more for text. */
export const STYLE = `
:root {
	color-scheme: light dark;
	--page: #f6f7f9; --card: #fff; --ink: #1b2330; --muted: #5b6675; --line: #e3e7ed; --faint: #eef1f5;
	--kept: #2f6fde; --all: #c6cfdc; --after: #0d8a6a; --good: #0b6e54; --good-back: #e2f4ee; --bad: #a8402c; --bad-back: #fbeae6; --link: #1f5bc4;
}
@media (prefers-color-scheme: dark) {
	:root {
		--page: #11151b; --card: #1a2029; --ink: #e4e9f0; --muted: #9aa6b6; --line: #2c3542; --faint: #242c37;
		--kept: #6ea0f7; --all: #465263; --after: #45c6a2; --good: #7fdabd; --good-back: #17352d; --bad: #f2a08d; --bad-back: #40231d; --link: #8ab4ff;
	}
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
	margin: 0; background: var(--page); color: var(--ink); line-height: 1.5; font-size: 15px;
	font-family: Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
main, header, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
h1 { overflow-wrap: anywhere; font-size: 28px; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 6px; }
h2 { font-size: 20px; letter-spacing: -.01em; margin: 48px 0 4px; }
h3 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 0 0 14px; max-width: 75ch; }
a { color: var(--link); }
.muted, figcaption small { color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 14px 0 0; font-size: 14px; }
dl.facts { display: grid; grid-template-columns: fit-content(40%) minmax(0, 1fr); gap: 2px 16px; margin: 14px 0 0; font-size: 13.5px; }
dl.facts dt { color: var(--muted); overflow-wrap: anywhere; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile, figure, article, .table { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 26px; font-weight: 650; letter-spacing: -.02em; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-size: 13px; color: var(--muted); }
.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; align-items: start; }
figure { overflow-wrap: anywhere; overflow: hidden; margin: 0; padding: 16px 18px; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: 10px; }
figcaption small { display: block; font-weight: 400; font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
details > summary { cursor: pointer; color: var(--link); font-size: 13.5px; }
figure details { margin-top: 10px; overflow-x: auto; }
.table { padding: 16px 18px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 15px; padding-bottom: 8px; }
caption small { font-weight: 400; color: var(--muted); font-size: 13px; margin-left: 6px; }
th, td { padding: 5px 10px 5px 0; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--muted); font-weight: 500; border-top: 0; }
th:first-child { text-align: left; font-weight: 500; white-space: normal; overflow-wrap: anywhere; min-width: 8em; }
td:last-child, th:last-child { padding-right: 0; }
td small { color: var(--muted); }
.controls { position: sticky; top: 0; z-index: 1; background: var(--page); padding: 10px 0; display: flex; flex-wrap: wrap; gap: 10px; align-items: end; border-bottom: 1px solid var(--line); margin-bottom: 16px; }
.controls label { display: grid; gap: 2px; font-size: 12.5px; color: var(--muted); min-width: 0; max-width: 100%; }
.controls label > * { width: 100%; }
.controls [role=group] { display: flex; flex-wrap: wrap; gap: 6px; flex-basis: 100%; }
button, select, input { font: inherit; font-size: 14px; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 5px 10px; max-width: 100%; }
button { cursor: pointer; overflow-wrap: anywhere; }
button[aria-pressed=true] { background: var(--ink); color: var(--page); border-color: var(--ink); }
:focus-visible { outline: 2px solid var(--kept); outline-offset: 2px; }
#count { font-size: 14px; color: var(--muted); margin-left: auto; padding-bottom: 6px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 16px; align-items: start; }
article { padding: 14px; min-width: 0; }
article[hidden] { display: none; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; margin-bottom: 10px; }
.pair > div { min-width: 0; font-size: 12.5px; overflow-wrap: anywhere; }
.pair img, .pair .missing { display: block; width: 100%; height: 168px; object-fit: contain; background: var(--faint); border-radius: 6px; image-rendering: auto; }
.pair .missing { padding: 8px; overflow: auto; color: var(--bad); overflow-wrap: anywhere; }
.pair .preferred img { outline: 2px solid var(--after); outline-offset: -2px; }
.pair strong { color: var(--good); font-weight: 600; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 8px; padding: 0; list-style: none; font-size: 12.5px; }
.chips li { background: var(--faint); border-radius: 99px; padding: 1px 9px; overflow-wrap: anywhere; }
.chips .good { background: var(--good-back); color: var(--good); }
.chips .bad { background: var(--bad-back); color: var(--bad); }
.why { font-size: 13.5px; margin: 0 0 8px; overflow-wrap: anywhere; }
.reasoning { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13.5px; max-height: 300px; overflow: auto; background: var(--faint); border-radius: 6px; padding: 8px 10px; margin: 8px 0; }
.from { font-size: 12px; color: var(--muted); margin: 8px 0 0; overflow-wrap: anywhere; }
footer { padding-top: 40px; padding-bottom: 40px; font-size: 13px; color: var(--muted); }
@media (max-width: 760px) {
	main, header, footer { padding-left: 16px; padding-right: 16px; }
	header { padding-top: 24px; }
	.grid { grid-template-columns: minmax(0, 1fr); }
	.controls { position: static; }
	dl.facts { grid-template-columns: minmax(0, 1fr); }
	dl.facts dd { margin-bottom: 6px; }
}
@media print { .controls, nav { display: none; } body { background: #fff; } }
`;
