"""Learning rates of transformers' schedules, for test/trainer/lr-schedule.test.ts.

Run: python make_lr_schedules.py > ../fixtures/lr-schedules.json   (transformers 5.23, torch 2.15)
"""
import json

import torch
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

CASES = [("cosine", 3, 20), ("cosine", 0, 7), ("linear", 5, 12), ("linear", 0, 4), ("constant", 4, 10)]


def rates(kind, warmup, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    make = {
        "cosine": lambda: get_cosine_schedule_with_warmup(optimizer, warmup, total),
        "linear": lambda: get_linear_schedule_with_warmup(optimizer, warmup, total),
        "constant": lambda: get_constant_schedule_with_warmup(optimizer, warmup),
    }[kind]()
    out = []
    for _ in range(total):
        out.append(make.get_last_lr()[0])
        optimizer.step()
        make.step()
    return out


print(json.dumps([dict(scheduler=k, warmupSteps=w, totalSteps=t, learningRate=0.5, rates=rates(k, w, t)) for k, w, t in CASES]))
