"""Which modules of tiny-qwen2_5_vl peft puts an adapter on, trains whole, and how it scales them: test/fixtures/lora-targets.json.

    python test/reference/make_lora_targets.py      (peft 0.21.2, transformers 5.23.0)
"""
import json, os, warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from transformers import Qwen2_5_VLForConditionalGeneration

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "../fixtures/golden/tiny-qwen2_5_vl")
CASES = [
    dict(target_modules=["q_proj", "v_proj"]),
    dict(target_modules=["self_attn.q_proj", "qkv", "mlp.0"]),
    dict(target_modules="all-linear"),
    dict(target_modules="all-linear", exclude_modules=["lm_head", "qkv", "down_proj"]),
    dict(target_modules="all-linear", exclude_modules=r".*visual.*"),
    dict(target_modules=r".*language_model\.layers\.[02]\..*(q|k|v)_proj"),
    dict(target_modules=r"model\.visual\.blocks\.\d+\.attn\.(qkv|proj)", r=16, lora_alpha=8, use_rslora=True),
    dict(target_modules=["q_proj", "qkv"], layers_to_transform=[1, 3]),
    dict(target_modules=["q_proj", "qkv"], layers_to_transform=2, layers_pattern="layers"),
    dict(target_modules=["up_proj"], layers_to_transform=[0], layers_pattern=["blocks", "layers"]),
    dict(target_modules=["lm_head", "o_proj"]),
    dict(target_modules=["q_proj"], modules_to_save=["lm_head", "merger"]),
    dict(target_modules="all-linear", modules_to_save=["embed_tokens", "visual"]),
    dict(target_modules=["q_proj", "o_proj"], rank_pattern={"layers.1.self_attn.q_proj": 2, "o_proj": 4}, alpha_pattern={".*o_proj": 1}),
]

results = []
for case in CASES:
    model = get_peft_model(Qwen2_5_VLForConditionalGeneration.from_pretrained(MODEL), LoraConfig(**case))
    prefix = "base_model.model."
    named = [(n.removeprefix(prefix), m) for n, m in model.named_modules()]
    lora = {n: [m.r["default"], m.scaling["default"]] for n, m in named if isinstance(m, LoraLayer)}
    saved = sorted(k.removeprefix(prefix).replace("modules_to_save.default.", "") for k, p in model.named_parameters()
                   if "modules_to_save" in k and p.requires_grad)
    results.append(dict(config=case, lora=lora, saved=saved))
with open(os.path.join(HERE, "../fixtures/lora-targets.json"), "w") as f:
    json.dump(results, f, separators=(",", ":"))
    f.write("\n")
print([(len(r["lora"]), len(r["saved"])) for r in results])
