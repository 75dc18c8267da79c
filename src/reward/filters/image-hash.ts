/**
 * A perceptual hash of a picture, and an index that finds hashes within a distance. The hash is "dHash": the picture is shrunk to 9 × 8
 * grey values, and each of 64 bits says whether a value is greater than its right neighbour. It survives scaling, recompression and
 * changes of brightness; not cropping, mirroring or rotation.
 * N. Krawetz, "Kind of like that" (2013), https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html
 */
import sharp from "sharp";

/** The 64 bits of a dHash, 32 rows of the picture's upper half first. */
export type ImageHash = readonly [number, number];

const [WIDTH, HEIGHT] = [9, 8];

/** @throws sharp's error for a file that is not a readable picture. */
export async function imageHash(file: string): Promise<ImageHash> {
	const grey = await sharp(file)
		.autoOrient()
		.flatten({ background: "white" })
		.greyscale()
		.resize(WIDTH, HEIGHT, { fit: "fill" })
		.raw()
		.toBuffer();
	const halves = [0, 0];
	for (let row = 0; row < HEIGHT; row++) {
		for (let column = 0; column < WIDTH - 1; column++) {
			const left = row * WIDTH + column;
			const half = row < HEIGHT / 2 ? 0 : 1;
			halves[half] = ((halves[half] << 1) | Number(grey[left] > grey[left + 1])) >>> 0;
		}
	}
	return [halves[0], halves[1]];
}

/** In how many of 64 bits two hashes differ. */
export function hashDistance(a: ImageHash, b: ImageHash): number {
	return bitCount(a[0] ^ b[0]) + bitCount(a[1] ^ b[1]);
}

function bitCount(bits: number): number {
	let count = 0;
	for (let rest = bits >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
	return count;
}

/**
 * Finds all hashes within `maxDistance` of one. Hashes that differ in at most d bits are equal in at least one of d + 1 slices of
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

	/** The numbers of the hashes within the distance. */
	near(hash: ImageHash): Set<number> {
		const found = new Set<number>();
		for (const [i, slice] of this.slicesOf(hash).entries()) {
			for (const number of this.slices[i].get(slice) ?? []) {
				if (!found.has(number) && hashDistance(hash, this.hashes[number]) <= this.maxDistance) found.add(number);
			}
		}
		return found;
	}

	private slicesOf([high, low]: ImageHash): string[] {
		const bits = high.toString(2).padStart(32, "0") + low.toString(2).padStart(32, "0");
		const count = this.maxDistance + 1;
		return Array.from({ length: count }, (_, i) => bits.slice(Math.floor((64 * i) / count), Math.floor((64 * (i + 1)) / count)));
	}
}
