"""transformers' LabelSmoother on a small batch, and the parameters that its Trainer decays, for test/trainer/loss.test.ts and adamw.test.ts.

Run: python make_label_smoothing.py > ../fixtures/label-smoothing.json   (transformers 5.23, torch 2.15)
The batch has two rows of unequal numbers of labels; `loss` is the mean over all of them.
"""
import json
from pathlib import Path

import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Trainer
from transformers.trainer_pt_utils import LabelSmoother

torch.manual_seed(0)
logits = (torch.randn(2, 5, 7) * 3).requires_grad_()
labels = torch.tensor([[-100, 3, -100, 6, 0], [-100, -100, -100, 2, -100]])
cases = []
for epsilon in (0.0, 0.1, 0.5):
    loss = LabelSmoother(epsilon=epsilon)({"logits": logits}, labels, shift_labels=True)
    (gradient,) = torch.autograd.grad(loss, logits)
    cases.append(dict(epsilon=epsilon, loss=loss.item(), gradient=gradient.tolist()))

model = Qwen2_5_VLForConditionalGeneration.from_pretrained(Path(__file__).parent / "../fixtures/golden/tiny-qwen2_5_vl")
hub = lambda name: name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
decayed = sorted(hub(name) for name in Trainer.get_decay_parameter_names(None, model))
print(json.dumps(dict(logits=logits.tolist(), labels=labels.tolist(), cases=cases, decayed=decayed)))
