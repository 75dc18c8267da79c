"""
The same fine-tuning by this library and, handed over by `train --engine trl --launch`, by TRL on the CPU; both models evaluated by ours.

    PATH=VENV/bin:$PATH python test/reference/handover_trl.py FOLDER > test/reference/handover_trl.txt

A step has all rows, so that their order decides nothing, in one micro-batch. trl 1.16.0, transformers 5.23.0, torch 2.15.0, tensorboard 2.21.0.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = Path(sys.argv[1])
judge = "examples/judge"


def tfjs_rft(*arguments):
    done = subprocess.run(["npx", "tsx", "src/cli/main.ts", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments[0]}: {done.stderr[-3000:]}")
    return done.stdout


data = ["--data_path", "hpdv3:examples/data/train.json", "--image_root", "examples/data", "--orders", "both"]
tfjs_rft("sample", "--model_path", judge, *data, "--limit", 6, "--max_new_tokens", 180, "--output_path", folder / "sampled", "--overwrite")
rows = folder / "rows.json"
tfjs_rft("convert", "--filtered_samples_path", folder / "sampled/filtered_samples.json", "--output_path", rows, "--overwrite")
count = len(json.loads(rows.read_text()))

common = ["train", "--pretrain", judge, "--train_data", rows, "--dtype", "float32", "--max_epochs", 4, "--overwrite"]
common += ["--train_batch_size", count, "--micro_train_batch_size", count, "--actor_learning_rate", 5e-4]
common += ["--lr_scheduler", "cosine_with_min_lr", "--lr_warmup_steps", 1, "--adam_betas", 0.9, 0.98, "--l2", 0.02, "--max_norm", 0.1]
ours, theirs = folder / "ours", folder / "trl"
tfjs_rft(*common, "--save_path", ours, "--log_dir", folder / "ours-logs")
print(f"{count} conversations")
printed = tfjs_rft(*common, "--save_path", theirs, "--log_dir", folder / "trl-logs", "--engine", "trl", "--gpus_per_node", 0, "--launch")
print(printed.replace(str(folder.resolve()), "FOLDER"))

metrics = [json.loads(line) for line in (folder / "ours-logs/metrics.jsonl").read_text().splitlines()]
events = EventAccumulator(str(folder / "trl-logs")).Reload()
print("step     loss: ours         TRL   gradient norm: ours         TRL   learning rate: ours         TRL")
for i, step in enumerate(metrics):
    pairs = [(step[f"train/{name}"], events.Scalars(f"train/{name}")[i].value) for name in ["loss", "grad_norm", "learning_rate"]]
    (a, b), (c, d), (e, f) = pairs
    print(f"{step['step']:4}{a:15.6f}{b:12.6f}{c:22.6f}{d:12.6f}{e:22.3e}{f:12.3e}")

start, mine, other = (load_file(path / "model.safetensors") for path in [Path(judge), ours, theirs])
assert mine.keys() == other.keys()
difference = sum(((mine[name] - other[name]).double() ** 2).sum() for name in mine) ** 0.5
change = sum(((mine[name] - start[name]).double() ** 2).sum() for name in mine) ** 0.5
print(f"\nweights: the two differ by {float(difference / change):.1e} of what training changed, over {len(mine)} tensors")
print("files of TRL's model:", ", ".join(sorted(file.name for file in theirs.iterdir())))

held_out = ["--data_path", "hpdv3:examples/data/heldout.json", "--image_root", "examples/data", "--limit", 60, "--max_new_tokens", 180]
for name, model in [("ours", ours), ("TRL", theirs)]:
    table = tfjs_rft("evaluate", "--model_path", model, *held_out)
    print(f"\nevaluate, trained by {name}:")
    print("\n".join(line for line in table.splitlines() if re.search("accuracy, 95|parsed|judgements", line)))
