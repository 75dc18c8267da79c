"""What wandb has taken of a history: replays it offline and reads wandb's own file back, by its protocol's messages.

Run: npx tsx test/reference/write_events.ts DIR && python test/reference/check_wandb.py DIR/train > test/reference/check_wandb.txt
"""
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import wandb
from wandb.proto import wandb_internal_pb2

BLOCK = 32768  # of LevelDB's log format, after a header of 7 bytes


def records(path):
    data, at, parts = Path(path).read_bytes(), 7, []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # no header fits before the next block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


with tempfile.TemporaryDirectory() as folder:
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": folder, "WANDB_SILENT": "true"}
    replay = Path(__file__).with_name("replay_wandb.py")
    done = subprocess.run([sys.executable, replay, sys.argv[1]], env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    print(f"wandb {wandb.__version__}: {done.stdout.strip()}")
    (path,) = glob.glob(f"{folder}/wandb/offline-run-*/*.wandb")
    ours = {line["_step"]: line for line in map(json.loads, (Path(sys.argv[1]) / "wandb-history.jsonl").read_text().splitlines())}
    for data in records(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") != "history":
            continue
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        line = ours.pop(row["_step"])
        same = all(row.get(name) == value for name, value in line.items() if name != "_runtime")
        shown = {name: value for name, value in row.items() if name.startswith(("train/", "eval/"))}
        rows, columns = row.get("judgements/nrows"), row.get("judgements/ncols")
        table = f", judgements: a table of {rows} row and {columns} columns" if rows else ""
        print(f"step {row['_step']}, each value as in our line: {same}, {shown}{table}")
    print(f"steps of ours that wandb has not: {len(ours)}")
