"""Reads the event files that src/trainer/metrics-log.ts wrote with TensorBoard: scalars by its reader, texts and pictures by its web server.

Run: npx tsx test/reference/write_events.ts DIR && python test/reference/read_tensorboard.py DIR > test/reference/read_tensorboard.txt
"""
import glob
import io
import json
import sys
import time
import urllib.parse
import urllib.request

import tensorboard
from PIL import Image
from tensorboard import program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = sys.argv[1]
for run in ["train", "sample"]:
    (path,) = glob.glob(f"{folder}/{run}/events.out.tfevents.*")
    events = EventAccumulator(path).Reload()
    print(f"{run}: tensorboard {tensorboard.__version__}, file version {events.file_version}")
    for tag in sorted(events.Tags()["scalars"]):
        print(" ", tag, [(e.step, e.value) for e in events.Scalars(tag)])

server = program.TensorBoard()
server.configure(argv=[None, "--logdir", folder, "--port", "0", "--load_fast", "false"])
url = server.launch()


def get(path, **query):
    return urllib.request.urlopen(f"{url}data/plugin/{path}?{urllib.parse.urlencode(query)}").read()


while "train" not in (texts := json.loads(get("text/tags"))):
    time.sleep(0.2)
for tag in texts["train"]:
    for text in json.loads(get("text/text", run="train", tag=tag)):
        print(f"\ntext {tag}, step {text['step']}, as the text plugin shows it:\n{text['text']}")
for tag, info in json.loads(get("images/tags"))["train"].items():
    for sample in range(info["samples"]):
        for image in json.loads(get("images/images", run="train", tag=tag, sample=sample)):
            picture = Image.open(io.BytesIO(get(f"images/individualImage", **dict(urllib.parse.parse_qsl(image["query"])))))
            print(f"\npicture {tag}, step {image['step']}, sample {sample}: {picture.format} {picture.size}")
