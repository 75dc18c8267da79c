"""Learning rates of transformers' schedules, for test/trainer/lr-schedule.test.ts.

Run: python make_lr_schedules.py > ../fixtures/lr-schedules.json   (transformers 5.23, torch 2.15)
"""
import json

import torch
from transformers import get_scheduler

# name, warm-up steps, steps, other arguments of ours, the same as transformers'
CASES = [
    ("cosine", 3, 20, {}, {}),
    ("cosine", 0, 7, {}, {}),
    ("linear", 5, 12, {}, {}),
    ("linear", 0, 4, {}, {}),
    ("constant", 4, 10, {}, {}),
    ("cosine_with_min_lr", 3, 20, {"minLrRatio": 0.1}, {"min_lr_rate": 0.1}),
    ("cosine_with_min_lr", 0, 9, {"minLrRatio": 0.25}, {"min_lr_rate": 0.25}),
    ("warmup_stable_decay", 3, 20, {"decaySteps": 5}, {"num_decay_steps": 5}),
    ("warmup_stable_decay", 4, 15, {"decaySteps": 6, "minLrRatio": 0.2}, {"num_decay_steps": 6, "min_lr_ratio": 0.2}),
    ("warmup_stable_decay", 0, 6, {"decaySteps": 6}, {"num_decay_steps": 6}),
]


def rates(kind, warmup, total, kwargs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    name = "constant_with_warmup" if kind == "constant" else kind
    make = get_scheduler(name, optimizer, warmup, total, scheduler_specific_kwargs=kwargs)
    out = []
    for _ in range(total):
        out.append(make.get_last_lr()[0])
        optimizer.step()
        make.step()
    return out


print(
    json.dumps(
        [dict(scheduler=k, warmupSteps=w, totalSteps=t, learningRate=0.5, **ours, rates=rates(k, w, t, theirs)) for k, w, t, ours, theirs in CASES]
    )
)
