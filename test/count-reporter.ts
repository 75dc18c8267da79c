/**
 * The last line of a test run: `N passed, N failed`, and `, N skipped` where there were any.
 *
 * A file that fails to load, and an error that no test caught, count as failures. Written when the process exits, since vitest's
 * own summary comes after the reporters'.
 */
import type { Reporter, TestModule } from "vitest/node";

export default class CountReporter implements Reporter {
	onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
		let [passed, failed, skipped] = [0, unhandledErrors.length, 0];
		for (const module of modules) {
			failed += module.errors().length;
			for (const suite of module.children.allSuites()) failed += suite.errors().length;
			for (const test of module.children.allTests()) {
				const { state } = test.result();
				if (state === "passed") passed++;
				else if (state === "skipped") skipped++;
				else failed++;
			}
		}
		const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
		process.once("exit", () => process.stdout.write(`${line}\n`));
	}
}
