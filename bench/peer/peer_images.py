#!/usr/bin/env python3
"""Images per second of transformers' Qwen2-VL image processors: the torchvision one ("fast") and the Pillow one.

    python peer_images.py --max-pixels 282240 --threads 2 --reps 12 A.jpg B.jpg

Bytes are in memory; decoding is part of the time. Three ways, as a program might call them: one image per call with all of torch's threads,
8 images per call, and a pool of as many Python threads as cores with one torch thread each (Pillow and torch release the interpreter's lock).
Prints RESULT and a JSON object: {file: {processor: {way: {min, median, cpu}}}}, in seconds per image; cpu is the
processor time of all threads, the median run's.
"""
import argparse, io, json, os, statistics, time
from concurrent.futures import ThreadPoolExecutor

BATCH = 8


def measure(run, images, reps):
    run()  # warm-up
    wall, cpu = [], []
    for _ in range(reps):
        started, spent = time.perf_counter(), time.process_time()
        run()
        wall.append((time.perf_counter() - started) / images)
        cpu.append((time.process_time() - spent) / images)
    return dict(min=min(wall), median=statistics.median(wall), cpu=statistics.median(cpu))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--max-pixels", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=12)
    args = parser.parse_args()

    import torch
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    result = {}
    for file in args.files:
        raw = open(file, "rb").read()
        decode = lambda: Image.open(io.BytesIO(raw)).convert("RGB")
        of_file = result[os.path.basename(file)] = {}
        for name, kind in (("torchvision", Qwen2VLImageProcessor), ("pillow", Qwen2VLImageProcessorPil)):
            processor = kind(min_pixels=3136, max_pixels=args.max_pixels)
            process = lambda n: processor(images=[decode() for _ in range(n)], return_tensors="pt")
            ways = of_file[name] = {}
            torch.set_num_threads(args.threads)
            ways["one at a time"] = measure(lambda: process(1), 1, args.reps)
            ways["8 per call"] = measure(lambda: process(BATCH), BATCH, max(2, args.reps // 4))
            torch.set_num_threads(1)
            with ThreadPoolExecutor(args.threads) as pool:
                ways["a thread per core"] = measure(lambda: list(pool.map(process, [1] * BATCH)), BATCH, max(2, args.reps // 4))
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
