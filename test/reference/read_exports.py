"""Trainers' own packages read the files of write_exports.ts:

    npx tsx test/reference/write_exports.ts /tmp/exports
    python test/reference/read_exports.py /tmp/exports > test/reference/read_exports.txt

needs datasets, trl, transformers, peft, ms-swift and llamafactory (0.9.5 imports torchaudio, of which images need nothing: a stand-in will do).
Says for each file what was read, and fails where something is not as the trainer wants it.
"""
import importlib.machinery
import importlib.metadata
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import datasets
import transformers
from datasets import Image, List, load_dataset
from peft import PeftModel  # noqa: F401  before the stand-in, which transformers would take for the real one

stand_in = types.ModuleType("torchaudio")
stand_in.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = stand_in

from llamafactory.data.loader import _load_single_dataset  # noqa: E402
from llamafactory.data.mm_plugin import get_mm_plugin  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402
from swift.dataset import load_dataset as swift_load_dataset  # noqa: E402
from trl.data_utils import is_conversational, prepare_multimodal_messages  # noqa: E402

datasets.disable_progress_bars()
root = Path(sys.argv[1])
versions = {name: importlib.metadata.version(name) for name in ("datasets", "trl", "transformers", "llamafactory", "ms_swift")}
print(versions)


def read(file):
    kind = "parquet" if file.suffix == ".parquet" else "json"
    return load_dataset(kind, data_files=str(file), split="train", cache_dir=str(root / "cache"))


print("\ndatasets: every file")
for file in sorted(root.glob("*/*/*.*")):
    if file.name == "dataset_info.json":
        continue
    rows = read(file)
    print(f"  {file.relative_to(root)}: {len(rows)} rows of {', '.join(rows.column_names)}")
    assert all(len(row["images"]) == 2 and row["provenance"]["key"] for row in rows)

print("\nLLaMA-Factory: its loader, by dataset_info.json, and its check of placeholders")
plugin = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>", video_token="<|video_pad|>")
for format in ("jsonl", "parquet"):
    folder = root / format / "llama-factory"
    data_args = SimpleNamespace(
        dataset_dir=str(folder),
        media_dir=str(folder),
        streaming=False,
        preprocessing_num_workers=None,
        overwrite_cache=True,
        max_samples=None,
    )
    model_args = SimpleNamespace(cache_dir=str(root / "cache"), hf_hub_token=None)
    training_args = SimpleNamespace(local_process_index=0)
    for attr in get_dataset_list(["rft_sft", "rft_dpo"], str(folder)):
        rows = _load_single_dataset(attr, model_args, data_args, training_args)
        for row in rows:
            assert [m["role"] for m in row["_prompt"]] == ["user"] and all(m["role"] == "assistant" for m in row["_response"])
            for response in row["_response"]:
                plugin._validate_messages([*row["_prompt"], response], row["_images"], [], [])
        print(f"  {format} {attr}: {len(rows)} rows of {len(rows[0]['_response'])} response(s), {len(rows[0]['_images'])} images")

print("\nms-swift: its loader")
for format in ("jsonl", "parquet"):
    for kind in ("sft", "grpo", "dpo"):
        file = root / format / "ms-swift" / f"{kind}.{format}"
        rows, _ = swift_load_dataset(str(file), remove_unused_columns=False)
        assert len(rows) == len(read(file)), "a row was left out"
        for row in rows:
            assert "".join(m["content"] for m in row["messages"]).count("<image>") == len(row["images"]) == 2
            assert [m["role"] for m in row["messages"]] == (["user"] if kind == "grpo" else ["user", "assistant"])
            assert kind != "grpo" or row["solution"].startswith("<answer>Image ")
            assert kind != "dpo" or row["rejected_response"] or row["rejected_messages"]
        print(f"  {format} {kind}: {len(rows)} rows of {', '.join(sorted(rows.column_names))}")

print("\nTRL: images as pictures in their places, and the chat template of Qwen2.5-VL")
processor = transformers.AutoProcessor.from_pretrained("test/fixtures/golden/tiny-qwen2_5_vl")
for format in ("jsonl", "parquet"):
    for kind, columns in {"sft": ["messages"], "grpo": ["prompt"], "dpo": ["prompt", "chosen", "rejected"]}.items():
        rows = read(root / format / "trl" / f"{kind}.{format}").cast_column("images", List(Image()))
        for row in rows:
            assert is_conversational({column: row[column] for column in columns})
            messages = prepare_multimodal_messages([m for column in columns[:2] for m in row[column]], images=row["images"])
            pictures = [part["image"] for m in messages for part in m["content"] if part["type"] == "image"]
            assert [p.size for p in pictures] == [p.size for p in row["images"]]
            text = processor.apply_chat_template(messages)
            assert text.count("<|image_pad|>") == 2 and "None" not in text, text
        print(f"  {format} {kind}: {len(rows)} rows, pictures of {' and '.join(str(p.size) for p in rows[0]['images'])}")
print("\nall read")
