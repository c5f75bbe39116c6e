"""Small byte-level BPE tokenizers with the real layout of the Qwen2.5 (InternVL3), Qwen3 (InternVL3.5) and gpt-oss ones.

Same alphabet order, pre-split expression, normaliser, special tokens and file layout as the published files; only the
merges are few and learnt here, from CORPUS, by the trainer below (ties broken by token text, so that every run agrees).
"""

import collections
import json
from pathlib import Path

import regex

PRE_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# o200k_harmony's.
PRE_SPLIT_GPT_OSS = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
NOT_SPECIAL = [
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>",
]  # fmt: skip
QWEN3_ONLY = ["<tool_response>", "</tool_response>", "<think>", "</think>"]
HARMONY = [
    "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>",
    "<|call|>", "<|endofprompt|>",
]  # fmt: skip
VISUAL = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]

CORPUS = """
Describe this image in detail. What is in the picture? How many circles are there? There are three red circles and one
blue square. The triangle is to the left of the square. Is the square larger than the circle? Yes, it is. No, it isn't.
What colour is the star? The star is yellow. Read the number. The number is 42. Compare the two images: in the second
one, there's a green triangle. I'm sure that they're different; we've seen both. You'll find it's hard, they'd say.
user assistant system
def main(argc, argv):
    for (int i = 0; i < n; ++i) { total += values[i]; }
    return total  # the sum of the values
Élève à l'école: où est le château? Straße, Größe, Übung. Привет, как дела? Это картинка.
你好，世界。这张图片里有什么？请描述这张图片。日本語の文章です。한국어 문장입니다.
"""


def byte_alphabet() -> dict[int, str]:
    """The GPT-2 letter of every byte, in the order of the ids 0..255."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{byte: chr(byte) for byte in shown}, **{byte: chr(0x100 + n) for n, byte in enumerate(hidden)}}


def learn_merges(corpus: str, count: int, pre_split: str = PRE_SPLIT) -> list[tuple[str, str]]:
    letters = byte_alphabet()
    words = collections.Counter(
        tuple(letters[byte] for byte in word.encode()) for word in regex.findall(pre_split, corpus)
    )
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = collections.Counter({apply_merge(word, best): times for word, times in words.items()})
    return merges


def apply_merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def tokenizer_json(family: str, merge_count: int, corpus: str = CORPUS) -> dict:
    """The content of a tokenizer.json; family is 'qwen2', 'qwen3' or 'gpt_oss'."""
    gpt_oss = family == "gpt_oss"
    pre_split = PRE_SPLIT_GPT_OSS if gpt_oss else PRE_SPLIT
    merges = learn_merges(corpus, merge_count, pre_split)
    vocab = {letter: n for n, letter in enumerate(byte_alphabet().values())}
    for left, right in merges:
        vocab[left + right] = len(vocab)
    if gpt_oss:
        special = [(token, True) for token in HARMONY]
    else:
        special = [(token, True) for token in SPECIAL] + [(token, False) for token in NOT_SPECIAL]
        special += [(token, False) for token in QWEN3_ONLY if family == "qwen3"]
    special += [(token, True) for token in VISUAL]
    added = [
        {
            "id": len(vocab) + n,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": is_special,
        }
        for n, (content, is_special) in enumerate(special)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None if gpt_oss else {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pre_split}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": False,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": gpt_oss,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
    }


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def write_tokenizer_json(folder: Path, content: dict) -> None:
    """The modern single file."""
    write_json(folder / "tokenizer.json", content)


def write_vocab_and_merges(folder: Path, content: dict) -> None:
    """The three older files; tokenizer_config.json says which added tokens are special."""
    write_json(folder / "vocab.json", content["model"]["vocab"])
    lines = ["#version: 0.2", *(" ".join(pair) for pair in content["model"]["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "added_tokens.json", {token["content"]: token["id"] for token in content["added_tokens"]})


def tokenizer_config(content: dict) -> dict:
    def entry(token: dict) -> dict:
        return {key: value for key, value in token.items() if key != "id"}

    gpt_oss = any(token["content"] == "<|return|>" for token in content["added_tokens"])
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token["id"]): entry(token) for token in content["added_tokens"]},
        "additional_special_tokens": VISUAL,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|return|>" if gpt_oss else "<|im_end|>",
        "errors": "replace",
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast" if gpt_oss else "Qwen2Tokenizer",
        "unk_token": None,
    }


def token_id(content: dict, token: str) -> int:
    return next(added["id"] for added in content["added_tokens"] if added["content"] == token)
