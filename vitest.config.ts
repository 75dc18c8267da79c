import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		include: ["test/**/*.test.ts"],
		reporters: ["default", "./test/count-reporter.ts"],
		// The native backend is process-wide state and uses every core itself: one file at a time, each in its own process.
		pool: "forks",
		fileParallelism: false,
		testTimeout: 60_000,
		hookTimeout: 120_000,
	},
});
