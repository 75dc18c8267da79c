#!/usr/bin/env python3
"""How far transformers itself is from float32 when it computes in bfloat16, on the golden tiny Qwen2.5-VL.

    python make_bf16.py > ../fixtures/bf16.json

Needs what make_goldens.py needs. Reads test/fixtures/golden. Writes
    greedy       48 greedy tokens per row of forward.safetensors' batch, the model in bfloat16
    loss         of train.safetensors' batch: float32, autocast (float32 weights, bfloat16 products), bfloat16 (all of it)
    gradients    per parameter [relative L2 error, cosine] of autocast's gradients against float32's; over all parameters as "all"
    step_losses  autocast's loss before each of 3 AdamW steps and after them, as train.json has float32's
    bfloat16_gradients   the same of the whole model in bfloat16, over all parameters only
"""
import json, os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

torch.set_num_threads(1)
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "golden")


def model(dtype=torch.float32):
    return AutoModelForImageTextToText.from_pretrained(os.path.join(GOLDEN, "tiny-qwen2_5_vl"), attn_implementation="sdpa", dtype=dtype).eval()


def batch(name):
    own, images = load_file(f"{GOLDEN}/{name}.safetensors"), load_file(f"{GOLDEN}/forward.safetensors")
    keys = [k for k in ("input_ids", "attention_mask", "mm_token_type_ids", "labels") if k in own]
    return {**{k: own[k] for k in keys}, **{k: images[k] for k in ("pixel_values", "image_grid_thw")}}


def legacy_key(n):
    return n.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def gradients(m, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = m(**batch("train"), use_cache=False).loss
    loss.backward()
    return loss.item(), {legacy_key(n): p.grad.double() for n, p in m.named_parameters()}


def steps():
    m = model().train()
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, foreach=False)
    losses = []
    for step in range(4):
        opt.zero_grad()
        losses.append(gradients(m, True)[0])
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        if step < 3:
            opt.step()
    return losses


def error(got, want):
    return [round(((got - want).norm() / want.norm()).item(), 6), round((got @ want / got.norm() / want.norm()).item(), 6)]


def flat(g):
    return torch.cat([g[k].flatten() for k in sorted(g)])


def main():
    x = batch("forward")
    m = model(torch.bfloat16)
    with torch.no_grad():
        ids = m.generate(**x, do_sample=False, max_new_tokens=48, min_new_tokens=48, repetition_penalty=1.0, top_k=None, top_p=None, temperature=None, eos_token_id=None)
    loss, want = gradients(model(), False)
    loss_auto, auto = gradients(model(), True)
    loss_half, half = gradients(model(torch.bfloat16), False)
    per = {k: error(auto[k].flatten(), want[k].flatten()) for k in want}
    print(json.dumps(dict(
        greedy=ids[:, x["input_ids"].shape[1]:].tolist(),
        loss=dict(float32=loss, autocast=loss_auto, bfloat16=loss_half),
        step_losses=steps(),
        gradients=dict(per, all=error(flat(auto), flat(want))),
        bfloat16_gradients=error(flat(half), flat(want)))))


main()
