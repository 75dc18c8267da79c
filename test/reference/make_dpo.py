"""
Direct preference optimization by TRL's own DPOTrainer on the tiny checkpoint, for test/trainer/dpo.golden.native.test.ts.

Run: python make_dpo.py > ../fixtures/dpo.json   (trl 1.16.0, transformers 5.23.0, torch 2.15.0, peft 0.21.2)

Loss, gradient, clipping, AdamW and metrics are TRL's and transformers'; only the collator is this script's: our labels are an answer's tokens and its
end-of-turn token, where TRL's own collator also counts the line feed that the chat template puts behind. A step has all pairs, so that
their order decides nothing. The losses: TRL's `sigmoid`, `ipo`, `hinge`, and conservative DPO (label smoothing 0.2; not in this release of TRL),
`-(1 - s) logsigmoid(z) - s logsigmoid(-z)`, as TRL up to 0.2x and LLaMA-Factory have it: here by TRL's loss of the pair and of the swapped pair.
`lora` trains the golden adapter of peft, whose reference is the adapter as it begins (TRL's copy of it, `ref`).
"""
import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from peft import PeftModel
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
from trl import DPOConfig, DPOTrainer

torch.set_num_threads(1)
FIXTURES = Path(__file__).parent / "../fixtures"
TINY, ADAPTER = FIXTURES / "golden/tiny-qwen2_5_vl", FIXTURES / "golden/tiny-qwen2_5_vl-lora"
IMAGES = ["two-red-circles.png", "blue-triangle.png"]
ASKED = ["which is better", "and of these two", "say more", "a red circle"]
PAIRS = [
    dict(
        conversations=[dict(**{"from": "human"}, value="<image>" * images + f"{ASKED[i]} {i}")],
        chosen=dict(**{"from": "gpt"}, value=f"<think>\nthe first {'very ' * i}red\n</think>\n<answer>Image 1 is better</answer>"),
        rejected=dict(**{"from": "gpt"}, value=f"<answer>Image 2 is better</answer>{' blue' * (3 - i)}"),
        images=[f"test/fixtures/hpdv3/images/{name}" for name in IMAGES[:images]],
    )
    for i, images in enumerate([2, 0, 1, 2])
]
BETA, STEPS, LR, PIXELS = 0.1, 5, 1e-4, 3136
processor = AutoProcessor.from_pretrained(TINY, max_pixels=PIXELS)
IM_END, ASSISTANT = (processor.tokenizer.encode(text) for text in ["<|im_end|>", "<|im_start|>assistant\n"])


def encode(pair, side):
    question = pair["conversations"][0]["value"]
    content = [dict(type="image") for _ in pair["images"]] + [dict(type="text", text=question.replace("<image>", ""))]
    messages = [dict(role="user", content=content), dict(role="assistant", content=[dict(type="text", text=pair[side]["value"])])]
    text = processor.apply_chat_template(messages, tokenize=False)
    pictures = [Image.open(FIXTURES / "../.." / path).convert("RGB") for path in pair["images"]] or None
    made = processor(text=[text], images=pictures, return_tensors="pt")
    ids = made["input_ids"][0].tolist()
    start = max(i for i in range(len(ids)) if ids[i : i + len(ASSISTANT)] == ASSISTANT) + len(ASSISTANT)
    end = start + ids[start:].index(IM_END[0]) + 1
    return made, ids, start, end


def collate(examples):
    """Chosen first, then rejected, padded on the right: what TRL's DataCollatorForVisionPreference returns."""
    rows = [encode(PAIRS[example["number"]], side) for side in ("chosen", "rejected") for example in examples]
    length = max(len(ids) for _, ids, _, _ in rows)
    fill = lambda make: torch.tensor([make(row) for row in rows])
    pad = processor.tokenizer.pad_token_id
    types = lambda row: row[0]["mm_token_type_ids"][0].tolist() + [0] * (length - len(row[1]))
    batch = dict(
        input_ids=fill(lambda row: row[1] + [pad] * (length - len(row[1]))),
        attention_mask=fill(lambda row: [1] * len(row[1]) + [0] * (length - len(row[1]))),
        completion_mask=fill(lambda row: [1 if row[2] <= t < row[3] else 0 for t in range(length)]),
        mm_token_type_ids=fill(types),
    )
    for key in ("pixel_values", "image_grid_thw"):
        batch[key] = torch.cat([row[0][key] for row in rows if key in row[0]])
    return batch


class Conservative(DPOTrainer):
    """cDPO: the loss of the pair, and with weight s that of the pair the wrong way round."""

    smoothing = 0.2

    def _compute_loss(self, model, inputs, return_outputs):
        swap = lambda x: torch.cat(x.chunk(2, dim=0)[::-1])
        other = {key: swap(value) if key not in ("pixel_values", "image_grid_thw") else value for key, value in inputs.items()}
        for key in ("pixel_values", "image_grid_thw"):
            other[key] = torch.cat(inputs[key].chunk(2, dim=0)[::-1])
        wrong = super()._compute_loss(model, other, False)
        for values in self._metrics["train"].values():
            values.clear()
        return (1 - self.smoothing) * super()._compute_loss(model, inputs, False) + self.smoothing * wrong


def run(loss_type, trainer_class=DPOTrainer, adapter=False):
    folder = tempfile.mkdtemp()
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32, attn_implementation="sdpa")
    if adapter:
        model = PeftModel.from_pretrained(model, ADAPTER, is_trainable=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    args = DPOConfig(
        output_dir=folder, beta=BETA, loss_type=loss_type, max_length=None, max_steps=STEPS, per_device_train_batch_size=len(PAIRS),
        learning_rate=LR, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.01, adam_beta1=0.9, adam_beta2=0.95,
        max_grad_norm=1.0, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        remove_unused_columns=False, disable_tqdm=True, disable_dropout=True, seed=0, dataloader_num_workers=0,
    )
    rows = [dict(number=i, prompt="", chosen="", rejected="", images=[]) for i in range(len(PAIRS))]
    trainer = trainer_class(
        model=model, args=args, data_collator=collate, train_dataset=Dataset.from_list(rows), processing_class=processor,
    )
    trainer.train()
    shutil.rmtree(folder)
    names = ["loss", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"]
    steps = [{name: log[name] for name in names} for log in trainer.state.log_history if "loss" in log]
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad and name in before}
    hub = lambda name: name.replace("model.language_model.", "model.").replace("model.visual.", "visual.").replace("base_model.model.", "").replace(".default", "")
    norms = {hub(name): dict(l2=p.double().norm().item(), change=(p - before[name]).double().norm().item()) for name, p in trained.items()}
    small = ["model.norm.weight", "model.layers.0.self_attn.q_proj.bias", "visual.merger.mlp.2.bias", "model.layers.1.post_attention_layernorm.weight"]
    values = {hub(name): p.flatten().tolist() for name, p in trained.items() if hub(name) in small}
    return dict(steps=steps, norms=norms, values=values)


encoded = [{side: dict(ids=ids, labelled=[start, end]) for side in ("chosen", "rejected") for _, ids, start, end in [encode(pair, side)]} for pair in PAIRS]
with contextlib.redirect_stdout(sys.stderr):  # the trainer prints its logs
    runs = {name: run(name) for name in ("sigmoid", "ipo", "hinge")}
    runs["conservative"] = run("sigmoid", Conservative)
    runs["lora"] = run("sigmoid", adapter=True)
options = dict(beta=BETA, learning_rate=LR, steps=STEPS, max_pixels=PIXELS, smoothing=Conservative.smoothing)
json.dump(dict(options=options, pairs=PAIRS, encoded=encoded, runs=runs), sys.stdout)
