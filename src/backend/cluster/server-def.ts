/**
 * TensorFlow's ServerDef, written byte by byte: which processes a cluster has, and which of them this one is.
 *
 * Field numbers from tensorflow/core/protobuf: tensorflow_server.proto, cluster.proto, config.proto. The first worker leads: it hands out the
 * members of a group of collective ops.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

const JOB = "worker";

/**
 * @param workers `host:port` of every process, in the order of their ranks
 * @param rank this process's place in it, from 0
 */
export function encodeServerDef(workers: readonly string[], rank: number): Uint8Array {
	const writer = new BinaryWriter();
	const nested = (field: number, write: () => void) => {
		writer.tag(field, WireType.LengthDelimited).fork();
		write();
		writer.join();
	};
	const text = (field: number, value: string) => writer.tag(field, WireType.LengthDelimited).string(value);
	const job = () => {
		text(1, JOB);
		for (const [task, address] of workers.entries()) {
			nested(2, () => {
				writer.tag(1, WireType.Varint).int32(task);
				text(2, address);
			});
		}
	};
	nested(1, () => nested(1, job)); // cluster { job }
	text(2, JOB);
	writer.tag(3, WireType.Varint).int32(rank);
	nested(4, () => nested(16, () => text(1, `/job:${JOB}/replica:0/task:0`))); // default_session_config { experimental { collective_group_leader } }
	text(5, "grpc");
	return writer.finish();
}
