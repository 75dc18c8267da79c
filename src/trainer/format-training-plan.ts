/** A training plan as lines of text, for a person. */
import type { TrainingPlan } from "./plan-training.js";

/** "38 MiB", "4.20 GiB", "1332 GiB" */
function gib(bytes: number): string {
	if (bytes < 2 ** 30) return `${Math.round(bytes / 2 ** 20)} MiB`;
	return `${(bytes / 2 ** 30).toFixed(bytes < 100 * 2 ** 30 ? 2 : 0)} GiB`;
}
const count = (n: number) => (n < 1e6 ? String(n) : n < 1e9 ? `${(n / 1e6).toFixed(2)} M` : `${(n / 1e9).toFixed(2)} B`);

/** "40 s", "12 min", "5.2 h", "31 days" */
function duration(seconds: number): string {
	if (seconds < 120) return `${Math.ceil(seconds)} s`;
	if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
	return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function formatTrainingPlan(plan: TrainingPlan): string {
	const { memory, gradientCheckpointing: checkpointing } = plan;
	const how = (on: boolean) => (on ? "with" : "without");
	const verdict = plan.fits ? "it fits" : "it does not fit";
	return [
		`parameters     ${count(plan.parameters)}, trained ${count(plan.trainable)} (${(100 * plan.trainableShare).toFixed(1)} %)`,
		`steps          ${plan.steps}, ${count(plan.tokens)} tokens, ${plan.flops.toExponential(1)} operations`,
		plan.seconds === undefined
			? "time           not estimated: no throughput is known"
			: `time           about ${duration(plan.seconds)}, at ${plan.throughput}`,
		`memory         ${gib(memory.peak)} at the peak, of ${gib(memory.available)}: ${verdict}`,
		`  weights      ${gib(memory.weights)}`,
		`  optimizer    ${gib(memory.optimizer)}`,
		`  gradients    ${gib(memory.gradients)}, and ${gib(memory.update)} while they are applied`,
		`  activations  ${gib(memory.activations)} ${how(checkpointing)} gradient checkpointing, ${gib(memory.activationsOtherwise)} ${how(!checkpointing)}`,
		`  runtime      ${gib(memory.runtime)}`,
		...plan.changes.map(({ change, peak }, i) => `${i === 0 ? "to need less   " : "  and          "}${change}: ${gib(peak)}`),
		...(plan.fits || plan.changes.some(({ peak }) => peak <= memory.available)
			? []
			: ["it takes another machine: nothing of that is enough"]),
	].join("\n");
}
