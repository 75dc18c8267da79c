/**
 * A ShareGPT row as the messages of a chat: every `<image>` in a human or system turn becomes an image part, in order, at its
 * place. The bare form (images but no placeholder anywhere) puts all images before the first human turn's text.
 * A `<image>` that the assistant writes is text.
 */
import { realpath } from "node:fs/promises";
import path from "node:path";
import { isInside } from "../files/is-inside.js";
import type { ContentPart, Message } from "../model/generative-model.js";
import { IMAGE_PLACEHOLDER, type ShareGptConversation } from "./sharegpt.js";

const ROLES = { human: "user", gpt: "assistant", system: "system" } as const;

/**
 * @param conversation a validated row
 * @param where names the row in errors
 * @param dataRoot images are relative to it and may not lie outside; without one, paths are taken as they are
 * @throws when placeholders and images differ in number, or an image lies outside `dataRoot`
 */
export function conversationMessages(
	conversation: Pick<ShareGptConversation, "conversations" | "images">,
	where: string,
	dataRoot?: string,
): Message[] {
	const images = conversation.images.map((image) => resolveInside(image, where, dataRoot));
	const turns = conversation.conversations;
	const placeholders = turns.reduce((n, turn) => n + (turn.from === "gpt" ? 0 : turn.value.split(IMAGE_PLACEHOLDER).length - 1), 0);
	const bare = placeholders === 0 && images.length > 0;
	if (!bare && placeholders !== images.length) {
		throw new Error(
			`${where}: ${placeholders} ${IMAGE_PLACEHOLDER} placeholders but ${images.length} images; add the missing ones or remove the rest`,
		);
	}
	const firstHuman = turns.findIndex((turn) => turn.from === "human");
	if (bare && firstHuman < 0) throw new Error(`${where}: ${images.length} images but no human turn to show them in; add one`);
	let next = 0;
	return turns.map((turn, i) => {
		const role = ROLES[turn.from];
		if (turn.from === "gpt") return { role, content: turn.value };
		const pieces = turn.value.split(IMAGE_PLACEHOLDER);
		const shown = bare && i === firstHuman ? images : images.slice(next, next + pieces.length - 1);
		next += shown.length;
		if (shown.length === 0) return { role, content: turn.value };
		return { role, content: bare ? [...shown.map(imagePart), textPart(turn.value)] : interleave(pieces, shown) };
	});
}

function interleave(pieces: string[], images: string[]): ContentPart[] {
	return pieces.flatMap((text, i) => {
		const parts: ContentPart[] = text === "" ? [] : [textPart(text)];
		return i < images.length ? [...parts, imagePart(images[i])] : parts;
	});
}

const textPart = (text: string): ContentPart => ({ type: "text", text });
const imagePart = (image: string): ContentPart => ({ type: "image", image });

function resolveInside(image: string, where: string, dataRoot?: string): string {
	if (dataRoot === undefined) return image;
	const resolved = path.resolve(dataRoot, image);
	if (!isInside(resolved, path.resolve(dataRoot))) throw outside(image, where, dataRoot);
	return resolved;
}

/**
 * The same for links: an image that is a symbolic link out of `dataRoot` is refused before it is read. A file that isn't there is
 * left to the reader, which names it.
 * @throws as conversationMessages does for a path outside
 */
export async function refuseLinksOut({ images }: Pick<ShareGptConversation, "images">, where: string, dataRoot: string): Promise<void> {
	const root = await realpath(dataRoot);
	for (const image of images) {
		const real = await realpath(path.resolve(dataRoot, image)).catch(() => undefined);
		if (real !== undefined && !isInside(real, root)) throw outside(`${image}, a link to ${real},`, where, dataRoot);
	}
}

function outside(image: string, where: string, dataRoot: string): Error {
	return new Error(`${where}: image ${image} lies outside the data root ${dataRoot}; move it inside or choose a data root that holds it`);
}
