/** `train --dry_run`: what the training will take; nothing is loaded but the configuration, and nothing is written. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
	formatTrainingPlan,
	loadProcessor,
	measureProducts,
	planTraining,
	readConversations,
	readModelShape,
	readPreferencePairs,
	selectBackend,
	surveyRows,
} from "../index.js";
import type { TrainOptions } from "./options.js";
import type { Session } from "./session.js";

/** Of an image, where neither a preprocessor_config.json nor --max_pixels says more: what Qwen recommends, 1280 × 28². */
const USUAL_PIXELS = 1280 * 28 * 28;

export async function dryRun(options: TrainOptions, session: Session): Promise<void> {
	const { pretrain, train_data: files, data_root: dataRoot, prompt_max_len: promptMaxLen, max_pixels: maxPixels } = options;
	const shape = await readModelShape(pretrain);
	const processor = existsSync(join(pretrain, "tokenizer.json"))
		? await loadProcessor(pretrain, { minPixels: options.min_pixels, maxPixels })
		: undefined;
	const tokensPerImage = shape.tokensPerImage(maxPixels ?? USUAL_PIXELS);
	const [pairs, rowsEach] = options.stage === "dpo" ? [true, 2] : [false, 1]; // a pair is two conversations
	async function* rows() {
		for (const file of files) yield* pairs ? bothAnswers(file) : readConversations(file);
	}
	const survey = await surveyRows(rows(), processor, { dataRoot, promptMaxLen, tokensPerImage });
	session.note(
		survey.encoded > 0
			? `lengths: of ${survey.encoded} of ${survey.rows} conversations`
			: `lengths: estimated at 4 characters a token and ${tokensPerImage} tokens an image; ${pretrain} has no tokenizer.json`,
	);
	const { reason } = await selectBackend(options.backend);
	session.note(`backend: ${reason}`);
	const bfloat16 = options.bf16 || options.dtype === "bfloat16";
	const plan = planTraining(shape, {
		...survey,
		dtype: bfloat16 ? "bfloat16" : "float32",
		...{ trainBatchSize: rowsEach * options.train_batch_size, microTrainBatchSize: rowsEach * options.micro_train_batch_size },
		...{ maxEpochs: options.max_epochs, maxSteps: options.max_steps, gradientCheckpointing: options.gradient_checkpointing },
		...{ optimizer: options.optim, freeze: options.freeze, flopsPerSecond: await measureProducts({ bfloat16 }) },
	});
	if (pairs)
		session.note(
			"a pair is two conversations; the pass over all of them before the first step, about a third of an epoch, is not in the time",
		);
	session.print(
		`conversations  ${survey.rows}, ${survey.meanRow.toFixed(0)} tokens on average, the longest ${survey.longestRow}\n${formatTrainingPlan(plan)}`,
	);
}

async function* bothAnswers(file: string) {
	for await (const { conversations, chosen, rejected, images } of readPreferencePairs(file)) {
		yield { conversations: [...conversations, chosen], images };
		yield { conversations: [...conversations, rejected], images };
	}
}
