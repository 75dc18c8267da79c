"""Replays wandb-history.jsonl, as MetricsLog writes it, into Weights & Biases: one `log` per step, with the times of the run; judgements as a table.

Run: WANDB_MODE=offline python test/reference/replay_wandb.py LOG_DIR [PROJECT]
Then `wandb sync` uploads what it wrote; without WANDB_MODE it uploads at once.
"""
import json
import sys
from pathlib import Path

import wandb

logs, project = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "tfjs-rft"


def lines(name):
    path = logs / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


judgements = {}
for line in lines("judgements.jsonl"):
    judgements.setdefault(line["step"], []).append(line)

with wandb.init(project=project, name=logs.resolve().name) as run:
    for row in lines("wandb-history.jsonl"):
        step = row.pop("_step")
        row.pop("_runtime")  # wandb's own, from _timestamp
        if step in judgements:
            table = wandb.Table(columns=["key", "image 1", "image 2", "prompt", "completion", "outcome"])
            for one in judgements[step]:
                pictures = [wandb.Image(image) if Path(image).exists() else None for image in one["images"]]
                table.add_data(one["key"], *pictures, one["prompt"], one["completion"], one["outcome"])
            row["judgements"] = table
        run.log(row, step=step)
print(f"{step} steps replayed into {project}")
