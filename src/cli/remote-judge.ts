/**
 * `openai:MODEL@URL[,URL…]` in the place of a checkpoint folder: a judge behind chat endpoints. The API key comes from the environment, under a name
 * of its own: a flag would show in the list of processes and in written options, and OPENAI_API_KEY is meant for OpenAI alone.
 */
import { type GenerativeModel, remoteModel } from "../index.js";
import type { Session } from "./session.js";

const PREFIX = "openai:";
export const API_KEY = "TFJS_RFT_API_KEY";
const RETRIES_SHOWN = 5;

export interface RemoteJudge {
	model: string;
	endpoints: string[];
}

export const isRemote = (judge: string) => judge.startsWith(PREFIX);

/** @throws Error that begins with "expected", for what is no such name */
export function parseRemoteJudge(judge: string): RemoteJudge {
	const [, model, addresses] = /^openai:(.+)@(https?:\/\/.+)$/.exec(judge) ?? [];
	if (!model) throw new Error(`expected openai:MODEL@URL, such as openai:judge@http://localhost:8000/v1`);
	const endpoints = addresses.split(",").map((address) => address.trim());
	remoteModel({ model, endpoints }); // checks them; connects to nothing
	return { model, endpoints };
}

/** @param batchSize requests under way in all */
export function openRemote(judge: string, batchSize: number, { note }: Session): GenerativeModel {
	const { model, endpoints } = parseRemoteJudge(judge);
	let retries = 0;
	note(`judge: ${model} at ${endpoints.join(", ")}${process.env[API_KEY] ? `, with the key in ${API_KEY}` : ""}`);
	return remoteModel({
		...{ model, endpoints, apiKey: process.env[API_KEY] || undefined, concurrency: Math.ceil(batchSize / endpoints.length) },
		onRetry({ attempt, reason }) {
			if (++retries <= RETRIES_SHOWN) note(`asked again after attempt ${attempt}: ${reason}`);
			if (retries === RETRIES_SHOWN) note("more retries are not shown");
		},
	});
}
