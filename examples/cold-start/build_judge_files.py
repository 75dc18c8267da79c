"""The judge's checkpoint folder without its weights: tokenizer, configs, chat template.

    npx tsx examples/cold-start/write-corpus.ts corpus.txt
    python examples/cold-start/build_judge_files.py --corpus corpus.txt --out examples/judge

Needs `tokenizers` only. The BPE is byte-level with Qwen2.5's pre-tokenizer and special tokens, trained on the lessons of
the cold start, so that every word of the judge's reasoning is one token (a judgement is about 100). Run again, it writes
the same files.
"""
import argparse
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

VOCAB_BPE = 500  # 256 bytes and 244 merges
PRETOKENIZE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
            "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
            "<|image_pad|>", "<|video_pad|>"]

# Qwen's turns and image markers. There is no default system turn: it would be a tenth of this judge's prompt.
CHAT_TEMPLATE = """\
{%- for turn in messages -%}
{{- '<|im_start|>' + turn['role'] + '\\n' -}}
{%- if turn['content'] is string -%}
{{- turn['content'] -}}
{%- else -%}
{%- for part in turn['content'] -%}
{%- if part['type'] == 'image' or 'image' in part -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

TEXT = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=320,
            rms_norm_eps=1e-6, max_position_embeddings=2048, use_sliding_window=False, sliding_window=2048, max_window_layers=4)
VISION = dict(depth=3, hidden_size=64, num_heads=2, intermediate_size=160, out_hidden_size=128, patch_size=14,
              spatial_patch_size=14, in_chans=3, in_channels=3, spatial_merge_size=2, temporal_patch_size=2, window_size=112,
              fullatt_block_indexes=[2], tokens_per_second=2, hidden_act="silu", model_type="qwen2_5_vl")
PIXELS = 84 * 84  # 36 patches, 9 image tokens; every picture is brought to about that


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def train_tokenizer(corpus):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    with open(corpus, encoding="utf-8") as f:
        texts = f.read().split("\0")
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCAB_BPE, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    if tok.get_vocab_size() != VOCAB_BPE:
        raise SystemExit(f"{corpus}: gave {tok.get_vocab_size()} tokens, expected {VOCAB_BPE}; the corpus has too few words")
    tok.add_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return tok


def write_tokenizer(tok, out):
    tok.save(os.path.join(out, "tokenizer.json"))
    with open(os.path.join(out, "tokenizer.json"), encoding="utf-8") as f:
        model = json.load(f)["model"]
    with open(os.path.join(out, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump(model["vocab"], f, ensure_ascii=False)
    with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join((m if isinstance(m, str) else " ".join(m)) + "\n" for m in model["merges"]))
    with open(os.path.join(out, "chat_template.jinja"), "w", encoding="utf-8") as f:
        f.write(CHAT_TEMPLATE)
    added = {str(tok.token_to_id(s)): dict(content=s, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
             for s in SPECIALS}
    write_json(out, "tokenizer_config.json", dict(
        add_bos_token=False, add_prefix_space=False, added_tokens_decoder=added, additional_special_tokens=SPECIALS[1:],
        bos_token=None, chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False, eos_token="<|im_end|>", errors="replace",
        model_max_length=2048, pad_token="<|endoftext|>", split_special_tokens=False, tokenizer_class="Qwen2Tokenizer", unk_token=None))


def write_configs(tok, out):
    ids = {s: tok.token_to_id(s) for s in SPECIALS}
    write_json(out, "config.json", dict(
        architectures=["Qwen2_5_VLForConditionalGeneration"], attention_dropout=0.0, bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"], hidden_act="silu", initializer_range=0.02, model_type="qwen2_5_vl", tie_word_embeddings=True,
        torch_dtype="float32", use_cache=True, vocab_size=tok.get_vocab_size(), **TEXT, rope_theta=10000.0,
        rope_scaling=dict(type="mrope", mrope_section=[1, 2, 13]), vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"], vision_token_id=ids["<|vision_pad|>"], image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"], vision_config=VISION))
    write_json(out, "generation_config.json", dict(
        bos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"], do_sample=False,
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]]))
    write_json(out, "preprocessor_config.json", dict(
        min_pixels=PIXELS, max_pixels=PIXELS, patch_size=14, temporal_patch_size=2, merge_size=2,
        image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711],
        image_processor_type="Qwen2VLImageProcessor", processor_class="Qwen2_5_VLProcessor"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="texts separated by a NUL")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    tok = train_tokenizer(args.corpus)
    write_tokenizer(tok, args.out)
    write_configs(tok, args.out)
    print(f"{args.out}: {tok.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
