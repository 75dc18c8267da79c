"""transformers' Adafactor on a matrix, a vector and a convolution's kernel, for test/trainer/adafactor.test.ts.

Run: python make_adafactor.py > ../fixtures/adafactor.json   (transformers 5.23, torch 2.15)
Six steps with given gradients and rates. `scale_parameter` and `relative_step` are off: the rate is the loop's.
"""
import json

import torch
from transformers.optimization import Adafactor

torch.manual_seed(0)
SHAPES = {"weight": (4, 6), "bias": (5,), "kernel": (3, 2, 2, 3, 4)}
parameters = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}
start = {name: p.detach().flatten().tolist() for name, p in parameters.items()}
optimizer = Adafactor(
    [
        dict(params=[parameters["weight"], parameters["kernel"]], weight_decay=0.1),
        dict(params=[parameters["bias"]], weight_decay=0.0),
    ],
    lr=1.0, scale_parameter=False, relative_step=False, warmup_init=False, clip_threshold=1.0,
)
steps = []
for step in range(6):
    rate = [0.0, 0.05, 0.02, 0.02, 0.01, 0.005][step]
    for group in optimizer.param_groups:
        group["lr"] = rate
    for p in parameters.values():
        p.grad = torch.randn_like(p) * [1.0, 10.0, 0.01, 3.0, 0.1, 1e-4][step]
    gradients = {name: p.grad.flatten().tolist() for name, p in parameters.items()}
    optimizer.step()
    steps.append(dict(learningRate=rate, gradients=gradients, after={n: p.detach().flatten().tolist() for n, p in parameters.items()}))
print(json.dumps(dict(shapes=SHAPES, weightDecay=0.1, start=start, steps=steps)))
