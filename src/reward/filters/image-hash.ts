/**
 * What pictures are compared by, and an index that finds like ones. First a perceptual hash, "dHash": the picture is shrunk to 9 × 8
 * grey values, and each of 64 bits says whether a value is greater than its right neighbour. It survives scaling, recompression and
 * changes of brightness; not cropping, mirroring or rotation. As it is blind to colour and to small things on a plain ground, like hashes
 * are confirmed by the mean colours of 4 × 4 fields.
 * N. Krawetz, "Kind of like that" (2013), https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html
 */
import sharp from "sharp";

export interface ImageHash {
	/** The 64 bits of a dHash, the picture's upper half first. */
	bits: readonly [number, number];
	/** Mean red, green and blue of 4 × 4 fields, row by row. */
	colours: Uint8Array;
}

const [WIDTH, HEIGHT] = [9, 8];
const FIELDS = 4;
/** Most difference of a field's colour, of 255: a picture made 10 % brighter passes, a shape of another colour or at another place doesn't. */
const MAX_COLOUR_DIFFERENCE = 40;

/** @throws sharp's error for a file that is not a readable picture. */
export async function imageHash(file: string): Promise<ImageHash> {
	const picture = sharp(file).autoOrient().flatten({ background: "white" }).toColourspace("srgb");
	const [grey, colours] = await Promise.all([
		picture.clone().greyscale().resize(WIDTH, HEIGHT, { fit: "fill" }).raw().toBuffer(),
		picture.clone().resize(FIELDS, FIELDS, { fit: "fill" }).raw().toBuffer({ resolveWithObject: true }),
	]);
	return { bits: fallingBits(grey), colours: inThreeChannels(colours.data, colours.info.channels) };
}

function fallingBits(grey: Uint8Array): [number, number] {
	const halves: [number, number] = [0, 0];
	for (let row = 0; row < HEIGHT; row++) {
		for (let column = 0; column < WIDTH - 1; column++) {
			const left = row * WIDTH + column;
			const half = row < HEIGHT / 2 ? 0 : 1;
			halves[half] = ((halves[half] << 1) | Number(grey[left] > grey[left + 1])) >>> 0;
		}
	}
	return halves;
}

/** A picture in shades of grey may have one channel. */
function inThreeChannels(data: Uint8Array, channels: number): Uint8Array {
	if (channels >= 3) return Uint8Array.from({ length: FIELDS * FIELDS * 3 }, (_, i) => data[Math.floor(i / 3) * channels + (i % 3)]);
	return Uint8Array.from({ length: FIELDS * FIELDS * 3 }, (_, i) => data[Math.floor(i / 3) * channels]);
}

/** In how many of 64 bits two hashes differ. */
export function hashDistance({ bits: a }: ImageHash, { bits: b }: ImageHash): number {
	return bitCount(a[0] ^ b[0]) + bitCount(a[1] ^ b[1]);
}

/** Whether two pictures are near-duplicates: in at most `maxDistance` bits different, and of like colours in every field. */
export function areAlike(a: ImageHash, b: ImageHash, maxDistance: number): boolean {
	if (hashDistance(a, b) > maxDistance) return false;
	return a.colours.every((value, i) => Math.abs(value - b.colours[i]) <= MAX_COLOUR_DIFFERENCE);
}

function bitCount(bits: number): number {
	let count = 0;
	for (let rest = bits >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
	return count;
}

/**
 * Finds all pictures that are near-duplicates of one. Hashes that differ in at most d bits are equal in at least one of d + 1 slices of
 * their bits, so only those that share a slice are compared.
 */
export class ImageHashIndex {
	private readonly hashes: ImageHash[] = [];
	private readonly slices: Map<string, number[]>[];

	/** @throws RangeError unless 0 ≤ maxDistance ≤ 15. */
	constructor(private readonly maxDistance: number) {
		if (!(Number.isInteger(maxDistance) && maxDistance >= 0 && maxDistance <= 15)) {
			throw new RangeError(`image distance: expected a whole number of bits from 0 to 15, got ${maxDistance}`);
		}
		this.slices = Array.from({ length: maxDistance + 1 }, () => new Map());
	}

	/** @returns its number, counted from 0. */
	add(hash: ImageHash): number {
		const number = this.hashes.push(hash) - 1;
		for (const [i, slice] of this.slicesOf(hash).entries()) {
			const there = this.slices[i].get(slice);
			if (there) there.push(number);
			else this.slices[i].set(slice, [number]);
		}
		return number;
	}

	/** The numbers of the pictures that are like it. */
	near(hash: ImageHash): Set<number> {
		const found = new Set<number>();
		for (const [i, slice] of this.slicesOf(hash).entries()) {
			for (const number of this.slices[i].get(slice) ?? []) {
				if (!found.has(number) && areAlike(hash, this.hashes[number], this.maxDistance)) found.add(number);
			}
		}
		return found;
	}

	private slicesOf({ bits: [high, low] }: ImageHash): string[] {
		const bits = high.toString(2).padStart(32, "0") + low.toString(2).padStart(32, "0");
		const count = this.maxDistance + 1;
		return Array.from({ length: count }, (_, i) => bits.slice(Math.floor((64 * i) / count), Math.floor((64 * (i + 1)) / count)));
	}
}
