/** A measured value with its unit, three digits. */

/** Milliseconds below a second. */
export function duration(seconds: number): string {
	return seconds < 1 ? `${(seconds * 1000).toPrecision(3)} ms` : `${threeDigits(seconds)} s`;
}

export function gibibytes(value: number): string {
	return `${threeDigits(value)} GiB`;
}

/** `toPrecision(3)` without an exponent. */
function threeDigits(value: number): string {
	return String(Number(value.toPrecision(3)));
}
