/**
 * M-RoPE positions: text tokens count on all three axes together; an image's tokens share one temporal position and
 * count rows and columns; the text after an image goes on at start + max(rows, columns).
 *
 * Text of 2, an image of 2 × 3 merged tokens, text of 2:
 *
 *     t  0 1 | 2 2 2 2 2 2 | 5 6
 *     h  0 1 | 2 2 2 3 3 3 | 5 6
 *     w  0 1 | 2 3 4 2 3 4 | 5 6        delta = 6 + 1 − 10 = −3
 *
 * Padding is left out of the count and gets 0. `ropeDelta` is relative to the unpadded length: a generated token's
 * position is (unpadded length so far) + delta. Source: transformers modeling_qwen2_5_vl.py, get_rope_index.
 */

/** What the positions depend on, all from config.json but the second-per-grid of videos. */
export interface MropeOptions {
	imageTokenId: number;
	videoTokenId?: number;
	spatialMergeSize: number;
	/** Positions per second of video. */
	tokensPerSecond: number;
	/** [t, h, w] in patches, of the images in row order. */
	imageGridThw?: readonly (readonly number[])[];
	videoGridThw?: readonly (readonly number[])[];
	/** Seconds that one temporal patch of each video lasts. Default 1. */
	secondPerGridTs?: readonly number[];
	/** [B, T] of packed rows: where it changes, a conversation begins and positions with it. The row's delta is its last conversation's. */
	segmentIds?: Int32Array;
}

export interface MropePositions {
	/** [3, B, T], row-major: temporal, height, width. */
	positionIds: Int32Array;
	/** [B] */
	ropeDeltas: Int32Array;
}

/**
 * @param inputIds [B, T] row-major
 * @param attentionMask [B, T] 1 on tokens
 * @throws if a run of image tokens does not have its grid's size, or the grids do not match the runs in number
 */
export function mropePositions(
	inputIds: Int32Array,
	attentionMask: Int32Array,
	[batch, length]: readonly [number, number],
	options: MropeOptions,
): MropePositions {
	const positionIds = new Int32Array(3 * batch * length);
	const ropeDeltas = new Int32Array(batch);
	const grids = new GridCursor(options);
	for (let b = 0; b < batch; b++) {
		const places: number[] = []; // unpadded tokens of the row, as offsets into [T]
		for (let t = 0; t < length; t++) if (attentionMask[b * length + t]) places.push(t);
		const segmentOf = (i: number) => options.segmentIds?.[b * length + places[i]];
		let position = 0;
		let largest = -1;
		let begin = 0;
		for (let i = 0; i < places.length; ) {
			if (i > 0 && segmentOf(i) !== segmentOf(i - 1)) [position, largest, begin] = [0, -1, i];
			const run = runLength(inputIds, b * length, places, i, options);
			const put = (n: number, axes: readonly [number, number, number]) => {
				for (let axis = 0; axis < 3; axis++) positionIds[(axis * batch + b) * length + places[i + n]] = axes[axis];
				largest = Math.max(largest, ...axes);
			};
			if (run.kind === "text") {
				for (let n = 0; n < run.length; n++) put(n, [position + n, position + n, position + n]);
				position += run.length;
			} else {
				const { t, h, w, interval } = grids.next(run.kind, run.length, b);
				for (let n = 0; n < t * h * w; n++) {
					const frame = Math.trunc(Math.floor(n / (h * w)) * interval);
					put(n, [position + frame, position + (Math.floor(n / w) % h), position + (n % w)]);
				}
				position += Math.max(h, w);
			}
			i += run.length;
		}
		ropeDeltas[b] = largest + 1 - (places.length - begin);
	}
	grids.assertAllUsed();
	return { positionIds, ropeDeltas };
}

type Kind = "text" | "image" | "video";

function runLength(ids: Int32Array, row: number, places: number[], from: number, o: MropeOptions): { kind: Kind; length: number } {
	const kindAt = (i: number): Kind => {
		const id = ids[row + places[i]];
		return id === o.imageTokenId ? "image" : id === o.videoTokenId ? "video" : "text";
	};
	const kind = kindAt(from);
	let to = from + 1;
	const segmentOf = (i: number) => o.segmentIds?.[row + places[i]];
	while (to < places.length && kindAt(to) === kind && segmentOf(to) === segmentOf(from)) to++;
	return { kind, length: to - from };
}

/** Hands out the grids in order, checking each against the run of placeholder tokens that it belongs to. */
class GridCursor {
	private images = 0;
	private videos = 0;

	constructor(private readonly options: MropeOptions) {}

	next(kind: "image" | "video", tokens: number, row: number): { t: number; h: number; w: number; interval: number } {
		const { spatialMergeSize: m, imageGridThw = [], videoGridThw = [], secondPerGridTs, tokensPerSecond } = this.options;
		const index = kind === "image" ? this.images++ : this.videos++;
		const grid = (kind === "image" ? imageGridThw : videoGridThw)[index];
		if (!grid) throw new Error(`row ${row} has ${kind} tokens for ${kind} ${index}, but only ${index} ${kind} grids were given`);
		const [t, h, w] = [grid[0], grid[1] / m, grid[2] / m];
		if (t * h * w !== tokens) {
			throw new Error(
				`row ${row}: ${kind} ${index} has a grid of ${grid.join("×")} patches = ${t * h * w} tokens, but ${tokens} ${kind} tokens stand in a run; ` +
					"images need a separator between them, and one placeholder token per merged patch",
			);
		}
		// Only videos are spaced out in time.
		const interval = kind === "video" ? tokensPerSecond * (secondPerGridTs?.[index] ?? 1) : 1;
		return { t, h, w, interval };
	}

	assertAllUsed(): void {
		const given = this.options.imageGridThw?.length ?? 0;
		if (given !== this.images)
			throw new Error(`${given} image grids were given, but the token ids have placeholders for ${this.images} images`);
	}
}

/**
 * The rotation angles of the decoder: frequency j turns by the axis of its section.
 * @param positionIds [3, N]
 * @returns [N, D/2]
 */
export function mropeAngles(positionIds: Int32Array, inverseFrequencies: Float32Array, mropeSection: readonly number[]): Float32Array {
	const half = inverseFrequencies.length;
	const n = positionIds.length / 3;
	const axisOf = mropeSection.flatMap((size, axis) => Array<number>(size).fill(axis));
	const angles = new Float32Array(n * half);
	for (let i = 0; i < n; i++) {
		for (let j = 0; j < half; j++) angles[i * half + j] = positionIds[axisOf[j] * n + i] * inverseFrequencies[j];
	}
	return angles;
}
