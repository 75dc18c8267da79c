"""Writes test/fixtures/sources: a few rows of each data set in its published form, by the programs that write such files elsewhere.

    pip install pyarrow zstandard
    python test/reference/make_sources.py

Parquet is pyarrow's, with images as Hugging Face's `Image` columns have them ({bytes, path}); tar archives are Python's, Zstandard is the
reference library's. Field names and layouts: see the header comments in src/dataset/sources/.
"""
import gzip
import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

OUT = Path(__file__).parents[1] / "fixtures" / "sources"


def png(shade: int) -> bytes:
    """A picture of 2 x 2 pixels of one grey."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes([shade, shade]) for _ in range(2))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(name: str, data: bytes) -> None:
    (OUT / name).parent.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_bytes(data)


def image(shade: int) -> dict:
    return {"bytes": png(shade), "path": f"{shade}.png"}


def as_json(rows: list) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def parquet(name: str, rows: list, **options) -> None:
    (OUT / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), OUT / name, row_group_size=2, **options)


def hpdv3() -> None:
    train = [
        {"prompt": "a grey square", "choice_dist": [9, 1], "confidence": 0.93, "path1": "images/10.png", "path2": "images/20.png", "model1": "flux", "model2": "sd2"},
        {"prompt": "ein Quadrat – „grau“", "choice_dist": None, "confidence": None, "path1": "images/30.png", "path2": "images/10.png", "model1": "real_images", "model2": "kolors"},
    ]
    test = [{"prompt": "a dark square", "path1": "images/10.png", "path2": "images/30.png", "model1": "flux", "model2": "infinity"}]
    for shade in (10, 20, 30):
        write(f"hpdv3/images/{shade}.png", png(shade))
    write("hpdv3/train.json", as_json(train))
    write("hpdv3/test.json", as_json(test))
    write("hpdv3/train.json.gz", gzip.compress(as_json(train), mtime=0))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in train).encode()
    # Two frames, as `cat a.zst b.zst` makes them.
    half = lines.index(b"\n") + 1
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    write("hpdv3/train.jsonl.zst", compress(lines[:half]) + compress(lines[half:]))
    for codec in ("snappy", "gzip", "zstd", "brotli", "none"):
        parquet(f"hpdv3/train.{codec}.parquet", train, compression=codec)


def imagegen_cot_reward() -> None:
    def row(caption: str, answer: str, images: list) -> dict:
        question = f"<image>\n<image>\nGiven a caption and two images … <answer>Image 1 is better</answer>\n\nYour task is provided as follows:\nText Caption: [{caption}]"
        return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": f"<think>\n1. …\n</think>\n<answer>{answer}</answer>"}], "images": images}

    rows = [row("a [red] circle", "Image 2 is better", ["images/10.png", "images/20.png"]), row("a square", "Image 1 is better", ["images/20.png", "images/10.png"])]
    for shade in (10, 20):
        write(f"imagegen-cot-reward-5k/images/{shade}.png", png(shade))
    write("imagegen-cot-reward-5k/train_data.json", as_json(rows))


def image_reward_db() -> None:
    def row(prompt_id: str, shade: int, rank: int) -> dict:
        path = f"images/train/train_1/{shade}.png"
        write(f"imagerewarddb/{path}", png(shade))
        return {"image_path": path, "prompt_id": prompt_id, "prompt": f"prompt of {prompt_id}", "classification": "Arts", "image_amount_in_total": 3, "rank": rank, "overall_rating": 8 - rank, "image_text_alignment_rating": 5, "fidelity_rating": 5}

    rows = [row("000864-0061", 10, 2), row("000864-0061", 20, 1), row("000864-0061", 30, 2), row("001000-0001", 40, 3), row("001000-0001", 50, 5)]
    write("imagerewarddb/images/train/train_1/train_1.json", as_json(rows))


def omni_reward_bench() -> None:
    def row(i: int, criteria: str, preference: str) -> dict:
        return {"id": f"t2i_{i}", "prompt": "a lamp", "response1_path": "t2i/10.png", "response2_path": "t2i/20.png", "criteria": criteria, "criteria_preference": preference, "model1": "flux", "model2": "sd3"}

    for shade in (10, 20):
        write(f"omnirewardbench/media_data/t2i/{shade}.png", png(shade))
    parquet("omnirewardbench/text_to_image/test.parquet", [row(0, "The light should be warm.", "response2"), row(1, "The lamp should stand.", "response1"), row(2, "It should be old.", "tie")])


def genai_bench() -> None:
    ratings = {"DALLE_3": [5, 4, 4], "SDXL_Base": [3, 3, 3], "Midjourney_6": [3, 4, 2]}
    parquet("genai_bench/ratings.parquet", [
        {"Index": 1, "Prompt": "a baker", "Tags": "{}", "HumanRatings": ratings, "DALLE_3": image(10), "SDXL_Base": image(20), "Midjourney_6": image(30)},
    ])
    parquet("genai_bench/votes.parquet", [
        {"prompt": "a river", "left_model": "PixArt", "left_image": image(10), "right_model": "SDXL", "right_image": image(20), "vote_type": vote}
        for vote in ("rightvote", "leftvote", "tievote", "bothbad_vote")
    ])


def rapidata() -> None:
    def row(first: tuple, second: tuple) -> dict:
        results = {f"weighted_results_image{i + 1}_{metric}": value for i, values in enumerate((first, second)) for metric, value in zip(("preference", "coherence", "alignment"), values)}
        return {"prompt": "a chair", "image1": image(10), "image2": image(20), "model1": "4o", "model2": "imagen", **results}

    parquet("rapidata/train.parquet", [row((0.9, 0.2, 0.5), (0.1, 0.8, 0.6)), row((0.5, 0.5, 0.5), (0.75, 0.5, 0.25)), row((0.1, None, 0.2), (0.9, None, 0.1))], compression="zstd")


def pairs() -> None:
    rows = [
        {"text": {"caption": "a cup"}, "images": ["10.png", "20.png"], "vote": "left", "who": ["a", "b"]},
        {"text": {"caption": "a cup"}, "images": ["10.png", "20.png"], "vote": "right"},
        {"text": {"caption": "a cup"}, "images": ["10.png", "20.png"], "vote": "same"},
        {"text": {"caption": "a cup"}, "images": ["10.png", "20.png"], "vote": "up"},
    ]
    for shade in (10, 20):
        write(f"pairs/{shade}.png", png(shade))
    write("pairs/pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    write("pairs/mapping.yaml", b"""prompt: text.caption
imageA: images.0
imageB: images.1
preference: { field: vote, A: [left], B: [right], tie: [same] }
modelA: who.0
modelB: who.1
""")


def shards() -> None:
    def shard(first: int) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for i in (first, first + 1):
                row = {"prompt": f"number {i}", "path1": f"{i:04}.0.png", "path2": "1.png", "model1": "flux"}
                for name, data in ((f"{i:04}.json", json.dumps(row).encode()), (f"{i:04}.0.png", png(i)), (f"{i:04}.1.png", png(100 + i)), (f"{i:04}.txt", f"text {i}".encode())):
                    # `path2` names its image by what the sample calls it, `path1` by the archive's name.
                    info = tarfile.TarInfo(f"shard/{name}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    write("shards/pairs-000.tar", shard(0))
    write("shards/pairs-001.tar.gz", gzip.compress(shard(2), mtime=0))


for make in (hpdv3, imagegen_cot_reward, image_reward_db, omni_reward_bench, genai_bench, rapidata, pairs, shards):
    make()
