/**
 * TensorBoard's event file, byte by byte: each record is a TFRecord holding an `Event` protobuf.
 *
 * TFRecord (tensorflow/core/lib/io/record_writer.h): uint64 length, masked crc32c of the length, data, masked crc32c of the data, little
 * endian; mask = rotate right by 15, plus 0xa282ead8. Event (tensorflow/core/util/event.proto): wall_time = 1 (double),
 * step = 2, file_version = 3, summary = 5 { value = 1 { tag = 1, simple_value = 2 (float), tensor = 8, metadata = 9 } }.
 * Texts and pictures are tensors of strings, which name the plugin that shows them (tensorboard/plugins/text, …/image).
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import crc32c from "crc-32/crc32c.js";

const MASK_DELTA = 0xa282ead8;
/** DataType (tensorflow/core/framework/types.proto). */
const DT_STRING = 7;
/** DataClass (tensorflow/core/framework/summary.proto). */
const DATA_CLASS_TENSOR = 2;
const DATA_CLASS_BLOB_SEQUENCE = 3;

/** Pictures under one tag, each an encoded PNG, JPEG or GIF. */
export interface EncodedPictures {
	/** Pixels to show them in. */
	width: number;
	height: number;
	files: readonly Uint8Array[];
}

/** The record that a file starts with. */
export function encodeFileVersion(wallTime: number): Uint8Array {
	return tfRecord(event(wallTime, 0).tag(3, WireType.LengthDelimited).string("brain.Event:2").finish());
}

/**
 * @param wallTime seconds since 1970
 * @param scalars value by tag
 */
export function encodeScalars(wallTime: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array {
	return summary(wallTime, step, scalars, (writer, value) => writer.tag(2, WireType.Bit32).float(value));
}

/** @param texts Markdown by tag; TensorBoard makes HTML of it and takes out what could run, but follows its links and loads its images */
export function encodeTexts(wallTime: number, step: number, texts: Readonly<Record<string, string>>): Uint8Array {
	return summary(wallTime, step, texts, (writer, text) => {
		stringTensor(writer, [Buffer.from(text)], "scalar");
		shownBy(writer, "text", DATA_CLASS_TENSOR);
	});
}

/** @param pictures by tag */
export function encodePictures(wallTime: number, step: number, pictures: Readonly<Record<string, EncodedPictures>>): Uint8Array {
	return summary(wallTime, step, pictures, (writer, { width, height, files }) => {
		stringTensor(writer, [Buffer.from(String(width)), Buffer.from(String(height)), ...files], "vector");
		shownBy(writer, "images", DATA_CLASS_BLOB_SEQUENCE);
	});
}

/** One record with a value per tag. */
function summary<T>(
	wallTime: number,
	step: number,
	values: Readonly<Record<string, T>>,
	write: (writer: BinaryWriter, value: T) => void,
): Uint8Array {
	const writer = event(wallTime, step).tag(5, WireType.LengthDelimited).fork();
	for (const [tag, value] of Object.entries(values)) {
		writer.tag(1, WireType.LengthDelimited).fork();
		write(writer.tag(1, WireType.LengthDelimited).string(tag), value);
		writer.join();
	}
	return tfRecord(writer.join().finish());
}

function event(wallTime: number, step: number): BinaryWriter {
	return new BinaryWriter().tag(1, WireType.Bit64).double(wallTime).tag(2, WireType.Varint).int64(step);
}

/** TensorProto: dtype = 1, tensor_shape = 2 { dim = 2 { size = 1 } }, string_val = 8. A scalar has no dim. */
function stringTensor(writer: BinaryWriter, values: readonly Uint8Array[], rank: "scalar" | "vector"): void {
	writer.tag(8, WireType.LengthDelimited).fork();
	writer.tag(1, WireType.Varint).int32(DT_STRING);
	writer.tag(2, WireType.LengthDelimited).fork();
	if (rank === "vector") writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(values.length).join();
	writer.join();
	for (const value of values) writer.tag(8, WireType.LengthDelimited).bytes(value);
	writer.join();
}

/** SummaryMetadata: plugin_data = 1 { plugin_name = 1, content = 2 }, data_class = 4. No content is the plugin's version 0. */
function shownBy(writer: BinaryWriter, plugin: string, dataClass: number): void {
	writer.tag(9, WireType.LengthDelimited).fork();
	writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(plugin).join();
	writer.tag(4, WireType.Varint).int32(dataClass).join();
}

/** Frames one record. */
export function tfRecord(data: Uint8Array): Uint8Array {
	const record = new Uint8Array(data.length + 16);
	const view = new DataView(record.buffer);
	view.setBigUint64(0, BigInt(data.length), true);
	view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
	record.set(data, 12);
	view.setUint32(12 + data.length, maskedCrc32c(data), true);
	return record;
}

function maskedCrc32c(bytes: Uint8Array): number {
	const crc = crc32c.buf(bytes) >>> 0;
	return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
