import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadImageOps } from "../../src/backend/image-ops.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import { ImageError } from "../../src/model/generative-model.js";
import { decodeImage, MAX_PIXELS, toRgb } from "../../src/model/qwen2_5_vl/decode-image.js";
import { ImageProcessor, parseImageProcessorSettings } from "../../src/model/qwen2_5_vl/image-processor.js";
import { pixelsToPatches } from "../../src/model/qwen2_5_vl/patchify.js";
import { resizeBicubic } from "../../src/model/qwen2_5_vl/resize-bicubic.js";
import { smartResize } from "../../src/model/qwen2_5_vl/smart-resize.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";

const settings = parseImageProcessorSettings({ min_pixels: 3136, max_pixels: 28 * 28 * 8 }, "test");
const sha256 = (values: Uint8Array | Float32Array) =>
	createHash("sha256")
		.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
		.digest("hex");

describe("smartResize", () => {
	const { rows }: { rows: [number, number, number, number, number, [number, number] | { error: string }][] } = JSON.parse(
		readFileSync(goldenPath("smart_resize.json"), "utf8"),
	);

	it("gives the reference's size or error on all 218 rows", () => {
		expect(rows).toHaveLength(218);
		for (const [h, w, factor, minPixels, maxPixels, expected] of rows) {
			const run = () => smartResize(h, w, { factor, minPixels, maxPixels });
			if (Array.isArray(expected)) expect(run(), `${h}×${w}`).toEqual(expected);
			else expect(run).toThrow(`${Number(expected.error.split(" got ")[1])} times the shorter`);
		}
	});
});

interface ImageRow {
	key: string;
	image: string;
	backend: string;
	min_pixels: number;
	max_pixels: number;
	grid_thw: [number, number, number];
	resized_hw: [number, number];
	resized_u8_sha256: string;
	pixel_values_sha256: string;
}

describe("image processor", () => {
	const { rows, pair }: { rows: ImageRow[]; pair: { pixel_values_sha256: string; grid_thw: number[][]; images: string[] } } = JSON.parse(
		readFileSync(goldenPath("image_processing.json"), "utf8"),
	);
	const pil = rows.filter(({ backend }) => backend === "pil");

	it.each(pil.map((row) => [row.key, row] as const))(
		"%s: resized bytes and pixel values are the reference's to the last bit",
		async (_, row) => {
			const path = goldenPath("images", row.image);
			const resized = await resizeBicubic(toRgb(await decodeImage(path)), ...row.resized_hw);
			expect(sha256(resized.data)).toBe(row.resized_u8_sha256);
			for (const addon of new Set([null, loadImageOps()])) {
				const processor = new ImageProcessor({ ...settings, minPixels: row.min_pixels, maxPixels: row.max_pixels }, addon);
				const { pixelValues, gridThw } = await processor.preprocess(path);
				expect(gridThw).toEqual(row.grid_thw);
				expect(sha256(pixelValues.data)).toBe(row.pixel_values_sha256);
				expect(pixelValues.shape).toEqual([row.grid_thw[1] * row.grid_thw[2], 3 * 2 * 14 * 14]);
			}
		},
	);

	it("concatenates two images as the reference does", async () => {
		const processor = new ImageProcessor(settings);
		const images = await Promise.all(pair.images.map((name) => processor.preprocess(goldenPath("images", name))));
		expect(images.map(({ gridThw }) => gridThw)).toEqual(pair.grid_thw);
		expect(sha256(Float32Array.from(images.flatMap(({ pixelValues }) => [...pixelValues.data])))).toBe(pair.pixel_values_sha256);
	});

	it("stays within 4 of 255 of the torchvision backend", async () => {
		const expected = await golden("image_processing");
		for (const name of ["chelsea", "coffee", "camera", "rocket_tall", "chelsea_tiny", "rgba"]) {
			const { data, shape } = expected.int(`${name}.tiny.torchvision.resized_u8`);
			const resized = await resizeBicubic(toRgb(await decodeImage(goldenPath("images", `${name}.png`))), shape[0], shape[1]);
			const differences = resized.data.map((byte, i) => Math.abs(byte - data[i]));
			expect(Math.max(...differences)).toBeLessThanOrEqual(4);
			expect(differences.filter((d) => d > 0).length / data.length).toBeLessThanOrEqual(0.116);
		}
	});

	it("turns given bytes into the reference's patches", async () => {
		const expected = await golden("image_processing");
		for (const backend of ["pil", "torchvision"]) {
			const { data, shape } = expected.int(`chelsea.tiny.${backend}.resized_u8`);
			const patches = pixelsToPatches({ data: Uint8Array.from(data), height: shape[0], width: shape[1] }, settings);
			const reference = expected.float(`chelsea.tiny.${backend}.pixel_values`);
			expect(patches.pixelValues.shape).toEqual(reference.shape);
			const difference = patches.pixelValues.data.reduce((most, v, i) => Math.max(most, Math.abs(v - reference.data[i])), 0);
			expect(difference).toBeLessThanOrEqual(backend === "pil" ? 0 : 1e-6);
		}
		expect(() => pixelsToPatches({ data: new Uint8Array(3 * 30 * 28), height: 30, width: 28 }, settings)).toThrow(
			/30×28 pixels, expected multiples of 28/,
		);
	});

	it("reads settings of either layout and refuses what it can't do", () => {
		const size = { shortest_edge: 100, longest_edge: 200 };
		expect(parseImageProcessorSettings({ size }, "f")).toMatchObject({ minPixels: 100, maxPixels: 200, patchSize: 14 });
		expect(parseImageProcessorSettings({}, "f")).toMatchObject({ minPixels: 56 * 56, maxPixels: 28 * 28 * 1280, rescaleFactor: 1 / 255 });
		expect(() => parseImageProcessorSettings({ do_normalize: false, image_mean: [0] }, "f")).toThrow(/f: .*image_mean.*do_normalize/s);
		expect(() => new ImageProcessor({ ...settings, minPixels: 9e6 })).toThrow(/minPixels 9000000 is above maxPixels/);
	});

	it("counts the placeholders of a grid", () => {
		expect(new ImageProcessor(settings).tokenCount([1, 4, 6])).toBe(6);
	});
});

describe("decodeImage", () => {
	const cases = fileURLToPath(new URL("../fixtures/image-cases/", import.meta.url));
	let dir: string;
	beforeAll(async () => {
		dir = await mkdtemp(join(tmpdir(), "images-"));
	});
	afterAll(() => rm(dir, { recursive: true }));

	it("sees the pixels that Pillow and transformers see: orientation, alpha, palettes, 16 bits, CMYK, first frames", async () => {
		const expected = await openSafetensors(join(cases, "expected.safetensors"));
		expect(expected.header.size).toBe(15);
		for (const [name, { shape }] of expected.header) {
			const { data, height, width } = toRgb(await decodeImage(join(cases, name)));
			expect([height, width, 3], name).toEqual(shape);
			expect(Buffer.compare(data, await expected.read(name)), name).toBe(0);
		}
		await expected.close();
	});

	it("reads the same from bytes as from a path", async () => {
		const path = join(cases, "plain.jpg");
		expect(await decodeImage(await readFile(path))).toEqual(await decodeImage(path));
	});

	const failure = async (image: string | Buffer) => {
		const error = await decodeImage(image).catch((e: unknown) => e);
		expect(error).toBeInstanceOf(ImageError);
		return error as ImageError;
	};

	it("says which image is unreadable and why", async () => {
		const file = async (name: string, bytes: Uint8Array | string) => {
			await writeFile(join(dir, name), bytes);
			return join(dir, name);
		};
		const png = await readFile(goldenPath("images", "chelsea.png"));
		expect(await failure(join(dir, "none.png"))).toMatchObject({ image: join(dir, "none.png"), reason: "is missing: no such file" });
		expect((await failure(dir)).reason).toBe("is not a file");
		expect((await failure(await file("empty.png", ""))).reason).toBe("is empty (0 bytes)");
		expect((await failure(Buffer.alloc(0))).image).toBe("image of 0 bytes");
		expect((await failure(await file("text.png", "hello, world"))).reason).toMatch(/is not an image that can be read \(expected JPEG/);
		expect((await failure(await file("cut.png", png.subarray(0, png.length / 2)))).reason).toMatch(/is damaged or cut off/);
		const plain = await readFile(join(cases, "plain.jpg"));
		expect((await failure(plain.subarray(0, plain.length - 60))).reason).toMatch(/is damaged or cut off/);
		expect((await failure(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'))).reason).toMatch(
			/^is svg, expected JPEG/,
		);
	});

	it("refuses a decompression bomb by its header", async () => {
		const png = await sharp({ create: { width: 10, height: 10, channels: 3, background: "red" } })
			.png()
			.toBuffer();
		png.writeUInt32BE(20_000, 16);
		png.writeUInt32BE(20_000, 20);
		expect((await failure(png)).reason).toBe(
			`is too large: 20000×20000 = 400000000 pixels, expected at most ${MAX_PIXELS}; scale it down first`,
		);
	});

	it("turns an aspect ratio above 200 into an ImageError", async () => {
		const strip = await sharp({ create: { width: 201, height: 1, channels: 3, background: "red" } })
			.png()
			.toBuffer();
		await expect(new ImageProcessor(settings).preprocess(strip)).rejects.toThrow(ImageError);
	});
});
