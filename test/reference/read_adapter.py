"""Loads the adapters of write_adapter.ts with peft, and the merged checkpoint with transformers: logits of the golden batch against ours.

    node --import tsx test/reference/write_adapter.ts DIR && python test/reference/read_adapter.py DIR > test/reference/read_adapter.txt
"""
import os, sys, warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("error", message=".*missing.*")       # peft warns of keys that it misses
import numpy as np, peft, torch, transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "../fixtures/golden")
folder = sys.argv[1]
x = load_file(os.path.join(GOLDEN, "forward.safetensors"))
batch = {k: x[k].long() for k in ("input_ids", "attention_mask", "image_grid_thw")}
batch["mm_token_type_ids"] = (batch["input_ids"] == 996).int()  # else positions are one-dimensional
batch["pixel_values"] = x["pixel_values"]


def base(path=os.path.join(GOLDEN, "tiny-qwen2_5_vl")):
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()


def compare(name, model, ours):
    with torch.no_grad():
        logits = model(**batch, use_cache=False).logits
    ours = torch.from_numpy(np.fromfile(os.path.join(folder, ours + ".f32"), dtype=np.float32)).view_as(logits)
    real = batch["attention_mask"].bool()
    difference, largest = (logits - ours)[real].abs().max().item(), logits[real].abs().max().item()
    print(f"{name}: {difference / largest:.1e} of the largest logit")
    assert difference / largest < 1e-4, name
    return logits


print(f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
plain = base()(**batch, use_cache=False).logits
for name in ("all", "rslora", "pattern"):
    model = PeftModel.from_pretrained(base(), os.path.join(folder, name)).eval()
    logits = compare(f"{name}: {sum('lora_' in n for n, _ in model.named_parameters())} tensors of LoRA", model, name)
    print(f"  the adapter moves logits by up to {(logits - plain).abs().max().item():.2f}")
compare("merged", base(os.path.join(folder, "merged")), "all")
