/**
 * The event file read back by a protobuf reader and by the format's own rules; test/reference/read_tensorboard.py reads one with
 * TensorBoard itself (its output is committed beside it).
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { encodeFileVersion, encodeScalars, tfRecord } from "../../src/trainer/tensorboard-events.js";

/** Splits records by their length prefix. */
function records(file: Uint8Array): Uint8Array[] {
	const found: Uint8Array[] = [];
	const view = new DataView(file.buffer, file.byteOffset);
	for (let at = 0; at < file.length; ) {
		const length = Number(view.getBigUint64(at, true));
		found.push(file.subarray(at + 12, at + 12 + length));
		at += length + 16;
	}
	return found;
}

interface ReadEvent {
	wallTime?: number;
	step?: number;
	version?: string;
	scalars: [string, number][];
}

function readEvent(bytes: Uint8Array): ReadEvent {
	const reader = new BinaryReader(bytes);
	const event: ReadEvent = { scalars: [] };
	while (reader.pos < reader.len) {
		const [field, wire] = reader.tag();
		if (field === 1) event.wallTime = reader.double();
		else if (field === 2) event.step = Number(reader.int64());
		else if (field === 3) event.version = reader.string();
		else if (field === 5) event.scalars = readSummary(reader.bytes());
		else reader.skip(wire);
	}
	return event;
}

function readSummary(bytes: Uint8Array): [string, number][] {
	const reader = new BinaryReader(bytes);
	const scalars: [string, number][] = [];
	while (reader.pos < reader.len) {
		expect(reader.tag()).toEqual([1, WireType.LengthDelimited]);
		const value = new BinaryReader(reader.bytes());
		expect(value.tag()).toEqual([1, WireType.LengthDelimited]);
		const tag = value.string();
		expect(value.tag()).toEqual([2, WireType.Bit32]);
		scalars.push([tag, value.float()]);
	}
	return scalars;
}

describe("TensorBoard events", () => {
	it("open with the file version", () => {
		expect(records(encodeFileVersion(12.5)).map(readEvent)).toEqual([{ wallTime: 12.5, step: 0, version: "brain.Event:2", scalars: [] }]);
	});

	it("hold a step's scalars", () => {
		const file = Buffer.concat([encodeScalars(1, 300, { "train/loss": 0.5, "train/größe": -2 }), encodeScalars(2, 2 ** 33, {})]);
		expect(records(file).map(readEvent)).toEqual([
			{
				wallTime: 1,
				step: 300,
				scalars: [
					["train/loss", 0.5],
					["train/größe", -2],
				],
			},
			{ wallTime: 2, step: 2 ** 33, scalars: [] },
		]);
	});

	it("are framed with masked crc32c, as TensorBoard's own writer frames these bytes", () => {
		// tensorboard.summary.writer.record_writer.RecordWriter, tensorboard 2.21.0
		expect(Buffer.from(tfRecord(Buffer.from("123456789"))).toString("hex")).toBe(TFRECORD_123456789);
	});
});

const TFRECORD_123456789 = "090000000000000037f97139313233343536373839e5b08ac7";
