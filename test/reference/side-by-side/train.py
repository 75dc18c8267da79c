"""transformers' and torch's half of the comparison: the same rows in the same order, as train.ts left them in FOLDER.

    python train.py FOLDER RUN [RUN ...]      RUN: float32, float32-split, bfloat16, bfloat16-seed1, bfloat16-seed2, ...

transformers' own processor makes ids and pixel values (compared with ours), its model the loss (sum over labelled tokens / their number in the step), torch's AdamW,
clip_grad_norm_ and transformers' cosine schedule the rest. Decay on matrices only. `float32-split` computes the same batch in two halves: what rounding alone
does to the reference. `bfloat16` is autocast with float32 weights; `-seedK` draws another order of the rows. Writes FOLDER/torch-<RUN>.json and .safetensors.
"""
import json, os, sys, time

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, get_cosine_schedule_with_warmup

torch.set_num_threads(1)  # on a machine whose cores are shared, two threads wait for each other
folder, runs = sys.argv[1], sys.argv[2:]
job = json.load(open(f"{folder}/batches.json"))
settings = job["settings"]
processor = AutoProcessor.from_pretrained(job["judge"], use_fast=False)
START, END = "<|im_start|>assistant\n", "<|im_end|>"


def hub_key(name):
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def encode(row):
    messages = [dict(m, content=[dict(type="text", text=m["content"])]) if isinstance(m["content"], str) else m for m in row["messages"]]
    text = processor.apply_chat_template(messages, tokenize=False)
    images = [Image.open(p["image"]) for m in messages for p in m["content"] if p["type"] == "image"]
    x = processor(text=[text], images=images or None, return_tensors="pt", return_mm_token_type_ids=True)
    labels = torch.full_like(x["input_ids"], -100)
    ids = x["input_ids"][0].tolist()
    start, end = processor.tokenizer.encode(START), processor.tokenizer.convert_tokens_to_ids(END)
    for i in range(len(ids) - len(start)):
        if ids[i : i + len(start)] == start:
            stop = ids.index(end, i + len(start)) + 1  # <|im_end|> is learnt, the line break after it is not
            labels[0, i + len(start) : stop] = x["input_ids"][0, i + len(start) : stop]
    return dict(x, labels=labels)


def pad(rows):
    length = max(r["input_ids"].shape[1] for r in rows)
    fill = dict(input_ids=processor.tokenizer.pad_token_id, attention_mask=0, mm_token_type_ids=0, labels=-100)
    out = {k: torch.cat([torch.nn.functional.pad(r[k], (0, length - r[k].shape[1]), value=v) for r in rows]) for k, v in fill.items()}
    return dict(out, **{k: torch.cat([r[k] for r in rows]) for k in ("pixel_values", "image_grid_thw")})


def compare_inputs(rows):
    same_ids = sum(r["input_ids"][0].tolist() == ours["ids"] for r, ours in zip(rows, job["rows"]))
    same_labels = sum((r["labels"][0] != -100).int().tolist() == ours["mask"] for r, ours in zip(rows, job["rows"]))
    mine = np.concatenate([r["pixel_values"].numpy().ravel() for r in rows[: job["pixelsOf"]]])
    ours = np.fromfile(f"{folder}/pixels.f32", dtype=np.float32)
    found = dict(rows=len(rows), same_ids=same_ids, same_labels=same_labels, pixel_values=len(ours), largest_pixel_difference=float(np.abs(mine - ours).max()))
    print(found, flush=True)
    json.dump(found, open(f"{folder}/inputs.json", "w"))


def order_of(run):
    if "-seed" not in run:
        return job["steps"]
    generator = torch.Generator().manual_seed(int(run.split("-seed")[1]))
    size, n = settings["trainBatchSize"], len(job["rows"])
    steps = []
    while len(steps) < len(job["steps"]):
        epoch = torch.randperm(n, generator=generator).tolist()
        steps += [epoch[i : i + size] for i in range(0, n, size)]
    return steps[: len(job["steps"])]


def train(run, rows):
    model = AutoModelForImageTextToText.from_pretrained(job["judge"], attn_implementation="sdpa", dtype=torch.float32).train()
    groups = [[p for p in model.parameters() if (p.dim() > 1) == decays] for decays in (True, False)]
    optimizer = torch.optim.AdamW(
        [dict(params=groups[0], weight_decay=settings["weightDecay"]), dict(params=groups[1], weight_decay=0.0)],
        lr=settings["learningRate"], betas=settings["betas"], eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, settings["warmupSteps"], settings["totalSteps"])
    curve, started = [], time.time()
    for step, chosen in enumerate(order_of(run)):
        parts = np.array_split(chosen, 2) if run.endswith("-split") else [chosen]
        batches = [pad([rows[i] for i in part]) for part in parts]
        tokens = sum((b["labels"][:, 1:] != -100).sum() for b in batches)
        loss = 0.0
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=run.startswith("bfloat16")):
                share = model(**batch, use_cache=False, num_items_in_batch=tokens).loss
            share.backward()
            loss += share.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings["maxGradNorm"]).item()
        curve.append(dict(loss=loss, gradNorm=norm, learningRate=optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % 20 == 0:
            print(f"{run} {step + 1}/{len(job['steps'])} loss {loss:.5f} {time.time() - started:.0f} s", flush=True)
    json.dump(dict(run=run, seconds=time.time() - started, curve=curve), open(f"{folder}/torch-{run}.json", "w"))
    save_file({hub_key(k): v.detach().contiguous() for k, v in model.named_parameters()}, f"{folder}/torch-{run}.safetensors")


rows = [encode(row) for row in job["rows"]]
compare_inputs(rows)
for run in runs:
    train(run, rows)
