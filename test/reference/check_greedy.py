#!/usr/bin/env python3
"""Loads a checkpoint that tfjs-rft wrote with Hugging Face transformers and compares greedy judgements, token by token.

    python check_greedy.py OURS.json            (made by greedy-texts.ts; needs torch transformers pillow)

Everything on this side is transformers' own: tokenizer, chat template, image processor (the PIL one), model, generate.
Exit code 1 if a token differs.
"""
import json, sys

import torch, transformers
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.image_utils import load_image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

ours = json.load(open(sys.argv[1]))
d = ours["checkpoint"]
model, info = AutoModelForImageTextToText.from_pretrained(d, dtype=torch.float32, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
model.eval()
tok = AutoTokenizer.from_pretrained(d)
images = Qwen2VLImageProcessorPil.from_pretrained(d)
image_id = model.config.image_token_id
same, compared, first = 0, 0, None
for i, row in enumerate(ours["rows"]):
    paths = [p["image"] for p in row["messages"][0]["content"] if p["type"] == "image"]
    x = images(images=[load_image(p) for p in paths], return_tensors="pt")
    text = tok.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True)
    for grid in x["image_grid_thw"].tolist():
        text = text.replace("<|image_pad|>", "<|placeholder|>" * (grid[0] * grid[1] * grid[2] // 4), 1)
    ids = torch.tensor([tok(text.replace("<|placeholder|>", "<|image_pad|>"))["input_ids"]])
    with torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=(ids == image_id).int(), **x,
                             do_sample=False, temperature=None, top_k=None, top_p=None, repetition_penalty=1.0, max_new_tokens=ours["maxNewTokens"])
    got = out[0, ids.shape[1]:].tolist()
    compared += len(got)
    if got == row["tokens"] and tok.decode(got, skip_special_tokens=True) == row["text"]:
        same += 1
    elif first is None:
        first = f"row {i}:\n  ours  {row['text']!r}\n  theirs {tok.decode(got, skip_special_tokens=True)!r}"
print(f"transformers {transformers.__version__}, torch {torch.__version__}: no missing or unexpected key; {same} of {len(ours['rows'])} greedy judgements "
      f"identical, {compared} tokens")
if first:
    print(first)
    sys.exit(1)
