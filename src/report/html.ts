/**
 * HTML from data that nobody vouches for. In an `html` template every value is text, and is escaped so that it stands in an element and in a quoted
 * attribute alike; only what another `html` template made (or `trusted` vouches for) goes in as it is. Values never stand inside a script or a style.
 */

/** Markup; made by `html`, or by our own code through `trusted`. */
export class Html {
	constructor(readonly markup: string) {}
}

export type HtmlValue = string | number | Html | readonly HtmlValue[] | undefined | false;

/** Arrays are joined, `undefined` and `false` are nothing. */
export function html(strings: TemplateStringsArray, ...values: HtmlValue[]): Html {
	return new Html(strings.map((text, i) => (i === 0 ? text : markupOf(values[i - 1]) + text)).join(""));
}

/** Markup that holds no data, or escapes it itself. */
export const trusted = (markup: string) => new Html(markup);

function markupOf(value: HtmlValue): string {
	if (value === undefined || value === false) return "";
	if (value instanceof Html) return value.markup;
	return typeof value === "object" ? value.map(markupOf).join("") : escapeHtml(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** NUL, which HTML can't hold, becomes the replacement character. */
function escapeHtml(text: string): string {
	return text.replace(/[&<>"']/g, (character) => ENTITIES[character]).replaceAll("\0", "\uFFFD");
}
