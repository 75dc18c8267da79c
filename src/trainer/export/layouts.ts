/**
 * Rows as trainers read them, and what each trainer demands of a row, as a schema. Every row passes its schema before it is written.
 *
 * - LLaMA-Factory: ShareGPT; pairs carry `chosen` and `rejected` turns (`ranking` in dataset_info.json). https://github.com/hiyouga/LLaMA-Factory/tree/main/data
 * - ms-swift: messages with `<image>` in the text; pairs carry `rejected_response`. https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
 * - TRL: messages whose content is a list of parts, an image part at each image's place. https://huggingface.co/docs/trl/dataset_formats
 * - LightRFT's imagegen-cot-reward: ShareGPT without placeholders; its handler shows both images after the text, each by its number.
 *
 * GRPO rows have UnifiedReward's `problem`, `solution` and `images` in every layout, and the trainer's own prompt beside them.
 */
import { z } from "zod";
import { IMAGE_PLACEHOLDER, PAIR_HEADER } from "../sharegpt.js";
import type { DpoRow, ExportKind, GrpoRow, SftRow, TrainingRows } from "./training-rows.js";

export const EXPORT_LAYOUTS = ["llama-factory", "ms-swift", "trl", "lightrft"] as const;
export type ExportLayout = (typeof EXPORT_LAYOUTS)[number];

/** How one kind of row is written in one layout. */
export interface RowLayout<Row> {
	schema: z.ZodObject;
	toRow(row: Row): Record<string, unknown>;
}

export type Layout = { [Kind in ExportKind]?: RowLayout<TrainingRows[Kind][number]> };

const text = z.string().min(1);
const whole = z.int();
const imageCount = 2;
const images = z.array(text).length(imageCount);
const origin = {
	key: text,
	source: text,
	row: whole.min(0),
	order: z.array(whole.min(0).max(1)).length(2),
	preferred: whole.min(0).max(1),
};
const provenance = {
	sft: z.strictObject({ ...origin, sampleIndex: whole, seed: whole }),
	grpo: z.strictObject({ ...origin, right: whole, of: whole }),
	dpo: z.strictObject({ ...origin, chosenSample: whole, chosenSeed: whole, rejectedSample: whole, rejectedSeed: whole }),
};

const placeholders = (value: string) => value.split(IMAGE_PLACEHOLDER).length - 1;
const question = text.refine((value) => placeholders(value) === imageCount, {
	error: `one ${IMAGE_PLACEHOLDER} for each of ${imageCount} images`,
});
const answer = text.refine((value) => placeholders(value) === 0, { error: `no ${IMAGE_PLACEHOLDER} in an answer` });
const solution = text.regex(/^<answer>Image [12] is better<\/answer>$/);

const turn = (from: "human" | "gpt", value: z.ZodType<string>) => z.strictObject({ from: z.literal(from), value });
const message = (role: "user" | "assistant", content: z.ZodType) => z.strictObject({ role: z.literal(role), content });
/** Turns of two kinds, in this order, as one array type: a tuple is not a type that files have. */
const alternating = (one: z.ZodType<string>, names: readonly string[], name: "from" | "role", value: "value" | "content") =>
	z
		.array(z.strictObject({ [name]: text, [value]: one }))
		.length(names.length)
		.refine((turns) => turns.every((spoken, i) => (spoken as Record<string, unknown>)[name] === names[i]), {
			error: `turns of ${names.join(", ")}`,
		})
		.refine(
			(turns) =>
				turns.every((spoken, i) => placeholders(String((spoken as Record<string, unknown>)[value])) === (i === 0 ? imageCount : 0)),
			{
				error: `${imageCount} ${IMAGE_PLACEHOLDER} in the question and none in the answer`,
			},
		);

const human = (value: string) => ({ from: "human", value });
const gpt = (value: string) => ({ from: "gpt", value });
const problem = ({ question: asked, solution: right, images: shown, provenance: came }: GrpoRow) => ({
	problem: asked,
	solution: right,
	images: shown,
	provenance: came,
});
const problemShape = { problem: question, solution, images, provenance: provenance.grpo };

const llamaFactory: Layout = {
	sft: {
		schema: z.strictObject({ conversations: alternating(text, ["human", "gpt"], "from", "value"), images, provenance: provenance.sft }),
		toRow: (row: SftRow) => ({ conversations: [human(row.question), gpt(row.answer)], images: row.images, provenance: row.provenance }),
	},
	grpo: { schema: z.strictObject(problemShape), toRow: problem },
	dpo: {
		schema: z.strictObject({
			conversations: alternating(text, ["human"], "from", "value"),
			chosen: turn("gpt", answer),
			rejected: turn("gpt", answer),
			images,
			provenance: provenance.dpo,
		}),
		toRow: (row: DpoRow) => ({
			conversations: [human(row.question)],
			chosen: gpt(row.chosen),
			rejected: gpt(row.rejected),
			images: row.images,
			provenance: row.provenance,
		}),
	},
};

const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });

const msSwift: Layout = {
	sft: {
		schema: z.strictObject({ messages: alternating(text, ["user", "assistant"], "role", "content"), images, provenance: provenance.sft }),
		toRow: (row: SftRow) => ({ messages: [user(row.question), assistant(row.answer)], images: row.images, provenance: row.provenance }),
	},
	grpo: {
		schema: z.strictObject({ messages: alternating(text, ["user"], "role", "content"), ...problemShape }),
		toRow: (row: GrpoRow) => ({ messages: [user(row.question)], ...problem(row) }),
	},
	dpo: {
		schema: z.strictObject({
			messages: alternating(text, ["user", "assistant"], "role", "content"),
			rejected_response: answer,
			images,
			provenance: provenance.dpo,
		}),
		toRow: (row: DpoRow) => ({
			messages: [user(row.question), assistant(row.chosen)],
			rejected_response: row.rejected,
			images: row.images,
			provenance: row.provenance,
		}),
	},
};

/** A part of a message; an image part has no text, and the images stand in the row's own column. */
type Part = { type: "text"; text: string } | { type: "image" };
const parts = z.array(z.strictObject({ type: z.enum(["text", "image"]), text: text.optional() }));
const askedParts = parts.refine((content) => content.filter(({ type }) => type === "image").length === imageCount, {
	error: `${imageCount} image parts`,
});
const answerParts = parts.refine((content) => content.every(({ type }) => type === "text"), { error: "text parts only" });
const spoken = z.array(z.strictObject({ role: z.enum(["user", "assistant"]), content: parts }));
const exchange = spoken
	.length(2)
	.refine(([asked, said]) => asked.role === "user" && said.role === "assistant", { error: "user, then assistant" });
const asking = z.array(message("user", askedParts)).length(1);
const answering = z.array(message("assistant", answerParts)).length(1);

/** The text's pieces with an image part for each placeholder between them. */
function partsOf(value: string): Part[] {
	return value.split(IMAGE_PLACEHOLDER).flatMap((piece, i): Part[] => {
		const said: Part[] = piece === "" ? [] : [{ type: "text", text: piece }];
		return i === 0 ? said : [{ type: "image" }, ...said];
	});
}
const textPart = (value: string): Part[] => [{ type: "text", text: value }];

const trl: Layout = {
	sft: {
		schema: z.strictObject({ messages: exchange, images, provenance: provenance.sft }),
		toRow: (row: SftRow) => ({
			messages: [user(partsOf(row.question)), assistant(textPart(row.answer))],
			images: row.images,
			provenance: row.provenance,
		}),
	},
	grpo: {
		schema: z.strictObject({ prompt: asking, ...problemShape }),
		toRow: (row: GrpoRow) => ({ prompt: [user(partsOf(row.question))], ...problem(row) }),
	},
	dpo: {
		schema: z.strictObject({ prompt: asking, chosen: answering, rejected: answering, images, provenance: provenance.dpo }),
		toRow: (row: DpoRow) => ({
			prompt: [user(partsOf(row.question))],
			chosen: [assistant(textPart(row.chosen))],
			rejected: [assistant(textPart(row.rejected))],
			images: row.images,
			provenance: row.provenance,
		}),
	},
};

const bareTurns = z
	.array(z.strictObject({ from: z.enum(["human", "gpt"]), value: answer }))
	.length(2)
	.refine(([asked, said]) => asked.from === "human" && said.from === "gpt", { error: "human, then gpt" });

const lightRft: Layout = {
	sft: {
		schema: z.strictObject({ conversations: bareTurns, images, source: text, provenance: provenance.sft }),
		toRow: (row: SftRow) => ({
			conversations: [human(row.question.startsWith(PAIR_HEADER) ? row.question.slice(PAIR_HEADER.length) : row.question), gpt(row.answer)],
			images: row.images,
			source: "imagegen-cot-reward-5k",
			provenance: row.provenance,
		}),
	},
	grpo: { schema: z.strictObject(problemShape), toRow: problem },
};

export const LAYOUTS: Readonly<Record<ExportLayout, Layout>> = {
	"llama-factory": llamaFactory,
	"ms-swift": msSwift,
	trl,
	lightrft: lightRft,
};
