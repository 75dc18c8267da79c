"""torch.optim.AdamW and clip_grad_norm_ on two small parameters, for test/trainer/adamw.test.ts.

Run: python make_adamw.py > ../fixtures/adamw.json   (torch 2.15)
Five steps; gradients are given, so that only the optimizer is compared. Decay on the matrix, none on the bias.
"""
import json

import torch

torch.manual_seed(0)
weight, bias = torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(4))
start = dict(weight=weight.tolist(), bias=bias.tolist())
optimizer = torch.optim.AdamW(
    [dict(params=[weight], weight_decay=0.1), dict(params=[bias], weight_decay=0.0)], lr=0.02, betas=(0.9, 0.95), eps=1e-8, foreach=False
)
steps = []
for step in range(5):
    scale = [1.0, 10.0, 0.01, 3.0, 0.1][step]
    weight.grad, bias.grad = torch.randn(3, 4) * scale, torch.randn(4) * scale
    gradients = dict(weight=weight.grad.tolist(), bias=bias.grad.tolist())
    norm = torch.nn.utils.clip_grad_norm_([weight, bias], 1.0).item()
    optimizer.step()
    steps.append(dict(gradients=gradients, norm=norm, weight=weight.tolist(), bias=bias.tolist()))
print(json.dumps(dict(start=start, steps=steps)))
