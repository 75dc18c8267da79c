/**
 * TensorBoard's event file, byte by byte: each record is a TFRecord holding an `Event` protobuf.
 *
 * TFRecord (tensorflow/core/lib/io/record_writer.h): uint64 length, masked crc32c of the length, data, masked crc32c of the data, little
 * endian; mask = rotate right by 15, plus 0xa282ead8. Event (tensorflow/core/util/event.proto): wall_time = 1 (double),
 * step = 2, file_version = 3, summary = 5 { value = 1 { tag = 1, simple_value = 2 (float) } }.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import crc32c from "crc-32/crc32c.js";

const MASK_DELTA = 0xa282ead8;

/** The record that a file starts with. */
export function encodeFileVersion(wallTime: number): Uint8Array {
	return tfRecord(event(wallTime, 0).tag(3, WireType.LengthDelimited).string("brain.Event:2").finish());
}

/**
 * @param wallTime seconds since 1970
 * @param scalars value by tag
 */
export function encodeScalars(wallTime: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array {
	const writer = event(wallTime, step).tag(5, WireType.LengthDelimited).fork();
	for (const [tag, value] of Object.entries(scalars)) {
		writer.tag(1, WireType.LengthDelimited).fork();
		writer.tag(1, WireType.LengthDelimited).string(tag).tag(2, WireType.Bit32).float(value).join();
	}
	return tfRecord(writer.join().finish());
}

function event(wallTime: number, step: number): BinaryWriter {
	return new BinaryWriter().tag(1, WireType.Bit64).double(wallTime).tag(2, WireType.Varint).int64(step);
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
