import { availableParallelism } from "node:os";
import { setTimeout } from "node:timers/promises";
import { beforeAll, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory, zeros } from "../../src/backend/tf.js";
import { StepMeter } from "../../src/trainer/step-meter.js";

beforeAll(async () => {
	await selectBackend("cpu");
});

it("tells time, samples per second and memory in bytes", async () => {
	const before = memory().numBytes;
	const tensor = zeros([1000]);
	const meter = new StepMeter();
	await setTimeout(50);
	const { seconds, samplesPerSecond, residentBytes, tensorBytes } = meter.read(8);
	expect(seconds).toBeGreaterThan(0.045);
	expect(samplesPerSecond).toBeCloseTo(8 / seconds, 6);
	expect(residentBytes).toBeGreaterThan(20e6);
	expect(residentBytes).toBeLessThanOrEqual(process.memoryUsage.rss() * 2);
	expect(tensorBytes - before).toBe(4000);
	tensor.dispose();
});

it("has a utilisation near none while it waits, and of about one core of all while it computes", async () => {
	const idle = new StepMeter();
	await setTimeout(100);
	expect(idle.read(1).utilisation).toBeLessThan(0.5 / availableParallelism());
	const busy = new StepMeter();
	const cpu = process.cpuUsage();
	for (const end = performance.now() + 60; performance.now() < end; );
	const { utilisation, seconds } = busy.read(1);
	const used = process.cpuUsage(cpu);
	expect(utilisation).toBeCloseTo((used.user + used.system) / 1e6 / seconds / availableParallelism(), 1);
	expect(utilisation).toBeGreaterThan(0.1 / availableParallelism());
});
