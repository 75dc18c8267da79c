/** A line of metrics without what a clock and the system measure: what two equal runs have in common. */
export function withoutClock(line: string): Record<string, unknown> {
	const measured = /^time$|^system\/|_per_second$|seconds$/;
	const entries = Object.entries(JSON.parse(line) as Record<string, unknown>);
	return Object.fromEntries(entries.map(([name, value]) => [name, measured.test(name) ? 0 : value]));
}
