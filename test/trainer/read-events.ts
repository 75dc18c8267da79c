/** An event file read back by a protobuf reader and by the format's own rules. */
import { BinaryReader } from "@bufbuild/protobuf/wire";

export interface ReadValue {
	tag: string;
	scalar?: number;
	/** Strings of a tensor of them, and its shape. */
	strings?: Buffer[];
	shape?: number[];
	plugin?: string;
	/** DataClass of the metadata. */
	dataClass?: number;
}

export interface ReadEvent {
	wallTime?: number;
	step?: number;
	version?: string;
	values: ReadValue[];
}

/** Splits records by their length prefix. */
export function readEvents(file: Uint8Array): ReadEvent[] {
	const found: ReadEvent[] = [];
	const view = new DataView(file.buffer, file.byteOffset);
	for (let at = 0; at < file.length; ) {
		const length = Number(view.getBigUint64(at, true));
		found.push(readEvent(file.subarray(at + 12, at + 12 + length)));
		at += length + 16;
	}
	return found;
}

type Field = (field: number, reader: BinaryReader) => boolean;

/** @param take reads a field that it knows, and says so; others are skipped */
function readMessage(bytes: Uint8Array, take: Field): void {
	const reader = new BinaryReader(bytes);
	while (reader.pos < reader.len) {
		const [field, wire] = reader.tag();
		if (!take(field, reader)) reader.skip(wire);
	}
}

function readEvent(bytes: Uint8Array): ReadEvent {
	const event: ReadEvent = { values: [] };
	readMessage(bytes, (field, reader) => {
		if (field === 1) event.wallTime = reader.double();
		else if (field === 2) event.step = Number(reader.int64());
		else if (field === 3) event.version = reader.string();
		else if (field === 5) readMessage(reader.bytes(), (inner, summary) => inner === 1 && event.values.push(readValue(summary.bytes())) > 0);
		else return false;
		return true;
	});
	return event;
}

function readValue(bytes: Uint8Array): ReadValue {
	const value: ReadValue = { tag: "" };
	readMessage(bytes, (field, reader) => {
		if (field === 1) value.tag = reader.string();
		else if (field === 2) value.scalar = reader.float();
		else if (field === 8) Object.assign(value, readTensor(reader.bytes()));
		else if (field === 9) Object.assign(value, readMetadata(reader.bytes()));
		else return false;
		return true;
	});
	return value;
}

function readTensor(bytes: Uint8Array): Pick<ReadValue, "strings" | "shape"> {
	const [strings, shape]: [Buffer[], number[]] = [[], []];
	readMessage(bytes, (field, reader) => {
		if (field === 1) {
			if (reader.int32() !== 7) throw new Error("expected DT_STRING");
		} else if (field === 2) {
			readMessage(reader.bytes(), (dim, dims) => {
				if (dim !== 2) return false;
				readMessage(dims.bytes(), (size, sizes) => size === 1 && shape.push(Number(sizes.int64())) > 0);
				return true;
			});
		} else if (field === 8) strings.push(Buffer.from(reader.bytes()));
		else return false;
		return true;
	});
	return { strings, shape };
}

function readMetadata(bytes: Uint8Array): Pick<ReadValue, "plugin" | "dataClass"> {
	const metadata: Pick<ReadValue, "plugin" | "dataClass"> = {};
	readMessage(bytes, (field, reader) => {
		if (field === 4) metadata.dataClass = reader.int32();
		else if (field === 1) {
			readMessage(reader.bytes(), (inner, plugin) => {
				if (inner !== 1) return false;
				metadata.plugin = plugin.string();
				return true;
			});
		} else return false;
		return true;
	});
	return metadata;
}
