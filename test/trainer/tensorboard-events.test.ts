/**
 * The event file read back by a protobuf reader and by the format's own rules; test/reference/read_tensorboard.py reads one with
 * TensorBoard itself (its output is committed beside it).
 */
import { describe, expect, it } from "vitest";
import { encodeFileVersion, encodePictures, encodeScalars, encodeTexts, tfRecord } from "../../src/trainer/tensorboard-events.js";
import { readEvents } from "./read-events.js";

describe("TensorBoard events", () => {
	it("open with the file version", () => {
		expect(readEvents(encodeFileVersion(12.5))).toEqual([{ wallTime: 12.5, step: 0, version: "brain.Event:2", values: [] }]);
	});

	it("hold a step's scalars", () => {
		const file = Buffer.concat([encodeScalars(1, 300, { "train/loss": 0.5, "train/größe": -2 }), encodeScalars(2, 2 ** 33, {})]);
		expect(readEvents(file)).toEqual([
			{
				wallTime: 1,
				step: 300,
				values: [
					{ tag: "train/loss", scalar: 0.5 },
					{ tag: "train/größe", scalar: -2 },
				],
			},
			{ wallTime: 2, step: 2 ** 33, values: [] },
		]);
	});

	it("hold texts as scalars of strings for the text plugin", () => {
		const [{ step, values }] = readEvents(encodeTexts(1, 7, { "judgements/a": "**größer**" }));
		expect(step).toBe(7);
		expect(values).toEqual([{ tag: "judgements/a", strings: [Buffer.from("**größer**")], shape: [], plugin: "text", dataClass: 2 }]);
	});

	it("hold pictures as width, height and files for the image plugin", () => {
		const files = [Buffer.from([0xff, 0xd8, 1]), Buffer.from([0xff, 0xd8, 2])];
		const [{ values }] = readEvents(encodePictures(1, 7, { pair: { width: 256, height: 128, files } }));
		expect(values).toEqual([
			{ tag: "pair", strings: [Buffer.from("256"), Buffer.from("128"), ...files], shape: [4], plugin: "images", dataClass: 3 },
		]);
	});

	it("are framed with masked crc32c, as TensorBoard's own writer frames these bytes", () => {
		// tensorboard.summary.writer.record_writer.RecordWriter, tensorboard 2.21.0
		expect(Buffer.from(tfRecord(Buffer.from("123456789"))).toString("hex")).toBe(TFRECORD_123456789);
	});
});

const TFRECORD_123456789 = "090000000000000037f97139313233343536373839e5b08ac7";
