/**
 * `train --engine`: the data set in the engine's layout, its configuration and a launch.sh, in one folder; printed, or started with --launch.
 * The trained model then has all that `evaluate` and the next `run` read.
 */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { loadProcessor, readConversations, type ShareGptConversation, writeText, writeTrainerData } from "../../index.js";
import type { TrainOptions } from "../options.js";
import { claimOutputs, clearOutputs } from "../outputs.js";
import { chooseQuestion } from "../question.js";
import type { Session } from "../session.js";
import { UsageError } from "../usage-error.js";
import { checkEngineFlags } from "./check-engine-flags.js";
import type { Engine, Handover, Plan } from "./engine.js";
import type { EngineName } from "./engine-flags.js";
import { launchHere, launchOnRay } from "./launch.js";
import { launchScript } from "./launch-script.js";
import { lightRft } from "./lightrft.js";
import { llamaFactory } from "./llamafactory.js";
import { quote } from "./shell.js";
import { trl } from "./trl.js";

export const ENGINE_OF: Readonly<Record<EngineName, Engine>> = { llamafactory: llamaFactory, lightrft: lightRft, trl };

const DEFAULT_GPUS = 8;
const DEFAULT_STAGE = "3";

/** @throws UsageError for flags that the engine can't be given; Error for rows that it can't, and where it fails */
export async function handOver(name: EngineName, options: TrainOptions, session: Session): Promise<void> {
	const engine = ENGINE_OF[name];
	checkEngineFlags(engine, options);
	const folder = resolve(options.engine_files ?? `${options.save_path}.${name}`);
	const resuming = options.resume_from_checkpoint !== undefined;
	await claimOutputs([folder], [options.pretrain, ...options.train_data], options.overwrite || resuming);
	await claimOutputs([options.save_path], [options.pretrain, ...options.train_data], options.overwrite || resuming);
	const question = await chooseQuestion(options, options.pretrain, session);
	const processor = await loadProcessor(options.pretrain, { minPixels: options.min_pixels, maxPixels: options.max_pixels });
	const rows = await writeTrainerData(join(folder, "data"), allConversations(options.train_data, session), {
		layout: engine.layout,
		dataRoot: options.data_root,
		renderPrompt: (turns) => processor.chatTemplate.render(turns, { addGenerationPrompt: true }),
	});
	if (rows === 0) throw new Error(`${options.train_data.join(", ")}: expected at least one conversation, got none`);
	const plan = planOf(folder, rows, options, processor.imageProcessor.settings);
	const handover = engine.translate(plan);
	for (const [file, content] of Object.entries(handover.files)) await writeText(join(folder, file), content);
	if (question !== undefined) await writeText(join(folder, "prompt.txt"), question);
	const script = join(folder, "launch.sh");
	await writeText(script, launchScript(engine.title, plan, handover, question !== undefined));
	for (const remark of engine.remarks) session.note(`note: ${remark}`);
	if (!options.launch) {
		session.print(
			`${rows} conversations for ${engine.title} in ${folder}; it trains with\n\n  ${handover.command}\n\nstarted by\n\n  bash ${quote(script)}\n${afterwards(handover)}`,
		);
		return;
	}
	if (!resuming) await clearOutputs({ checkpoint: options.save_path });
	if (options.ray === undefined) await launchHere(script, session);
	else await launchOnRay(script, options.ray, { gpus: plan.gpus, id: `tfjs-rft-train-${Date.now()}` }, session);
	if (options.ray === undefined && !existsSync(join(handover.model, "config.json")))
		throw new Error(`${handover.model}: expected the model that ${engine.title} trained, got no config.json; what it printed is above`);
	session.print(`${rows} conversations, trained with ${engine.title}; model in ${handover.model}${afterwards(handover)}`);
}

const afterwards = ({ model }: Handover) =>
	`\nafterwards\n\n  tfjs-rft evaluate --model_path ${quote(model)} --data_path hpdv3:HELDOUT.json\n  tfjs-rft run job.yaml --model_path ${quote(model)} --output_path NEXT`;

async function* allConversations(files: readonly string[], { signal }: Session): AsyncGenerator<ShareGptConversation> {
	for (const file of files) {
		for await (const conversation of readConversations(file)) {
			signal.throwIfAborted();
			yield conversation;
		}
	}
}

/** @throws UsageError where the batch does not divide among the devices */
function planOf(folder: string, rows: number, options: TrainOptions, images: { minPixels: number; maxPixels: number }): Plan {
	const { nnodes: nodes = 1, gpus_per_node: gpus = DEFAULT_GPUS, train_batch_size, micro_train_batch_size, pretrain } = options;
	const together = micro_train_batch_size * nodes * Math.max(gpus, 1);
	if (train_batch_size % together !== 0) {
		throw new UsageError(
			`--train_batch_size: expected a multiple of ${together} (--micro_train_batch_size ${micro_train_batch_size} on ${nodes} × ${Math.max(gpus, 1)} devices), got ${train_batch_size}`,
		);
	}
	const steps = Math.min(options.max_steps ?? Number.POSITIVE_INFINITY, Math.ceil(rows / train_batch_size) * options.max_epochs);
	return {
		...{ options, folder, nodes, gpus },
		pretrain: resolve(pretrain),
		savePath: resolve(options.save_path),
		logDir: options.log_dir && resolve(options.log_dir),
		resumeFrom: checkpointToResume(options),
		zeroStage: Number(options.zero_stage ?? (gpus === 0 ? "0" : DEFAULT_STAGE)) as Plan["zeroStage"],
		bf16: options.bf16 || options.dtype === "bfloat16" || (options.dtype === "auto" && gpus > 0),
		accumulation: train_batch_size / together,
		steps,
		warmupSteps: options.lr_warmup_steps ?? Math.ceil(options.lr_warmup_ratio * steps),
		decaySteps: options.lr_decay_steps ?? Math.ceil(options.lr_decay_ratio * steps),
		pixels: { min: images.minPixels, max: images.maxPixels },
	};
}

/** `auto`: the newest in the model's folder. */
function checkpointToResume({ resume_from_checkpoint: resume, save_path }: TrainOptions): string | undefined {
	if (resume !== "auto") return resume && resolve(resume);
	const steps = existsSync(save_path) ? readdirSync(save_path).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []) : [];
	return steps.length === 0 ? undefined : resolve(save_path, `checkpoint-${Math.max(...steps.map(Number))}`);
}
