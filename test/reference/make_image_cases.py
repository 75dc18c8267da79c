#!/usr/bin/env python3
"""Small images of every awkward kind, and the RGB pixels that transformers sees in them.

    python make_image_cases.py --out test/fixtures/image-cases

Needs: pillow numpy torch safetensors transformers (13.0.0, 5.23.0 made the committed files). Writes the images and
expected.safetensors: per file name the uint8 [H, W, 3] after Pillow's exif_transpose and transformers' convert_to_rgb.
"""
import argparse, os, struct, zlib

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from transformers.image_transforms import convert_to_rgb


def picture(h=24, w=36):
    """Asymmetric in every direction: a gradient with a bright corner."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 255 // (w - 1), y * 255 // (h - 1), (x * 7 + y * 13) % 256], -1).astype(np.uint8)
    a[:6, :9] = (250, 20, 40)
    return a


def png16(path, rgb16):
    """A 16-bit RGB PNG; Pillow can't write one."""
    h, w, _ = rgb16.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb16)
    chunk = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", required=True)
    out = ap.parse_args().out
    os.makedirs(out, exist_ok=True)
    at = lambda n: os.path.join(out, n)
    rgb = picture()
    im = Image.fromarray(rgb)
    h, w = rgb.shape[:2]
    alpha = np.broadcast_to(np.arange(w, dtype=np.uint8) * 7, (h, w))
    for o in (3, 6, 7):
        exif = Image.Exif(); exif[0x0112] = o
        im.save(at(f"exif{o}.jpg"), quality=95, exif=exif)
    im.save(at("plain.jpg"), quality=80)
    im.convert("L").save(at("grey.jpg"), quality=90)
    Image.fromarray(np.dstack([rgb, alpha])).save(at("rgba.png"))
    Image.fromarray(np.dstack([rgb[..., 0], alpha]), "LA").save(at("grey_alpha.png"))
    im.quantize(16).save(at("palette.png"))
    p = im.quantize(16); p.info["transparency"] = p.getpixel((0, 0)); p.save(at("palette_transparent.png"), transparency=p.getpixel((0, 0)))
    im.convert("1").save(at("one_bit.png"))
    png16(at("rgb16.png"), rgb.astype(np.uint16) * 257 - (rgb > 0) * 100)
    im.save(at("animated.gif"), save_all=True, append_images=[Image.fromarray(255 - rgb)], duration=100)
    im.save(at("lossless.webp"), lossless=True)
    im.save(at("lzw.tiff"), compression="tiff_lzw")
    im.convert("CMYK").save(at("cmyk.jpg"), quality=95)
    expected = {}
    for n in sorted(os.listdir(out)):
        if not n.endswith(".safetensors"):
            expected[n] = np.ascontiguousarray(convert_to_rgb(ImageOps.exif_transpose(Image.open(at(n))), return_numpy=True))
    save_file(expected, at("expected.safetensors"))


if __name__ == "__main__":
    main()
