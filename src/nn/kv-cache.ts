import { concat, gather, keep, type Tensor4D, tensor1d } from "../backend/tf.js";

/** Keys and values of one layer, [B, K, S, D] each. Owns its tensors: `dispose()` when the generation ends. */
export class KvCache {
	private keys?: Tensor4D;
	private values?: Tensor4D;

	/**
	 * Appends along S and returns everything so far. The returned tensors stay the cache's.
	 * @param k [B, K, T, D]
	 */
	append(k: Tensor4D, v: Tensor4D): [Tensor4D, Tensor4D] {
		this.replace(this.keys ? concat([this.keys, k], 2) : k.clone(), this.values ? concat([this.values, v], 2) : v.clone());
		return [this.keys!, this.values!];
	}

	/** Makes these rows, in this order, the batch: to drop some, or to have some more than once. */
	selectRows(rows: Int32Array): void {
		if (!this.keys || !this.values) return;
		const index = tensor1d(rows, "int32");
		this.replace(gather(this.keys, index), gather(this.values, index));
		index.dispose();
	}

	private replace(keys: Tensor4D, values: Tensor4D): void {
		this.dispose();
		this.keys = keep(keys);
		this.values = keep(values);
	}

	dispose(): void {
		this.keys?.dispose();
		this.values?.dispose();
		this.keys = this.values = undefined;
	}
}
