"""What wandb has taken of a history: replays it offline and reads wandb's own file back with its own reader.

Run: npx tsx test/reference/write_events.ts DIR && python test/reference/check_wandb.py DIR/train > test/reference/check_wandb.txt
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import wandb
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore

with tempfile.TemporaryDirectory() as folder:
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": folder, "WANDB_SILENT": "true"}
    replay = Path(__file__).with_name("replay_wandb.py")
    done = subprocess.run([sys.executable, replay, sys.argv[1]], env=env, capture_output=True, text=True)
    print(f"wandb {wandb.__version__}: {done.stdout.strip()}")
    if done.returncode != 0:
        sys.exit(done.stderr)
    (path,) = glob.glob(f"{folder}/wandb/offline-run-*/*.wandb")
    store = DataStore()
    store.open_for_scan(path)
    ours = [json.loads(line) for line in (Path(sys.argv[1]) / "wandb-history.jsonl").read_text().splitlines()]
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") != "history":
            continue
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        line = next(line for line in ours if line["_step"] == row["_step"])
        same = all(row.get(name) == value for name, value in line.items() if name != "_runtime")
        table = row.get("judgements", {})
        shown = {name: value for name, value in row.items() if name.startswith(("train/", "eval/"))}
        print(f"step {row['_step']}, equal to our line: {same}, {shown}", f"table of {table['nrows']} x {table['ncols']}" if table else "")
