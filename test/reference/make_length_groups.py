"""transformers' get_length_grouped_indices, with the permutation that it drew, for test/trainer/length-groups.test.ts.

Run: python make_length_groups.py > ../fixtures/length-groups.json   (transformers 5.23, torch 2.15)
"""
import json

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

cases = []
for rows, batch, seed in [(50, 4, 0), (37, 3, 1), (5, 4, 2), (450, 2, 3)]:
    lengths = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[:rows].tolist()  # no two equal: order among equals is free
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed + 10)).tolist()
    indices = get_length_grouped_indices(lengths, batch, generator=torch.Generator().manual_seed(seed + 10))
    cases.append(dict(lengths=lengths, batchSize=batch, order=order, indices=indices))
print(json.dumps(cases))
