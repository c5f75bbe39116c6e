"""What transformers writes into the settings files of a folder, and what its tokenizers make of them.

    python make_settings.py                    # with the versions of requirements.txt: all of settings/
    python make_settings.py                    # with transformers 4.57.6: settings/keys_4.57.6.json alone

settings/keys_VERSION.json has every key with its default. settings/saved_by_5 is a tokenizer that was read from
vocab.json and merges.txt and saved again. settings/tokenizers.json has edits of a tiny tokenizer's files, as JSON merge
patches, and the ids and texts that come of them.
"""

import importlib
import json
import shutil
import tempfile
from pathlib import Path

import transformers
from transformers import AutoTokenizer, CONFIG_MAPPING, GenerationConfig, InternVLConfig

HERE = Path(__file__).parent
OUT = HERE / "settings"
BASE = HERE / "models/qwen3_tiny/hf"
SLOW = HERE / "models/qwen2_gqa7/github"
VERSION = transformers.__version__

TEMPLATE = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {}}  # fmt: skip
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
WITH_BOS = TEMPLATE | {
    "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, *TEMPLATE["single"]],
    "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [280], "tokens": ["<|endoftext|>"]}},
}
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
CASES = {  # name: patches of tokenizer.json and of tokenizer_config.json
    "as it is": ({}, {}),
    "a template that adds nothing": ({"post_processor": TEMPLATE}, {}),
    "a template with a token before": ({"post_processor": WITH_BOS}, {"add_bos_token": True}),
    "a sequence": ({"post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, WITH_BOS]}},
                   {"add_bos_token": True}),
    "a sequence that adds nothing": ({"post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, TEMPLATE]}},
                                     {}),
    "extra special": ({}, {"extra_special_tokens": ["<think>"], "additional_special_tokens": None}),
    "extra special by role": ({}, {"extra_special_tokens": {"thought_token": "<think>"}}),
    "additional special": ({}, {"additional_special_tokens": ["<think>"]}),
    "the end is not special": ({}, {"eos_token": "<think>"}),
    "an object": ({}, {"eos_token": PLAIN | {"__type": "AddedToken", "content": "<think>"}}),
    "special beside": ({}, {"added_tokens_decoder": {"304": PLAIN | {"content": "<think>", "special": True}}}),
    "not special beside": ({}, {"added_tokens_decoder": {"306": PLAIN | {"content": "<img>", "special": False}}}),
    "roles without an id": ({}, {"pad_token": "[PAD]", "bos_token": "[BOS]"}),
}  # fmt: skip
TEXTS = ["ab <think> c<|im_end|>", "", "<img>a b</img>", "[PAD][BOS] a"]


def merged(value: dict, patch: dict) -> dict:
    """RFC 7396."""
    result = dict(value)
    for key, new in patch.items():
        if new is None:
            result.pop(key, None)
        elif isinstance(new, dict):
            result[key] = merged(result[key] if isinstance(result.get(key), dict) else {}, new)
        else:
            result[key] = new
    return result


def write(path: Path, value) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def keys() -> dict:
    whole = json.loads(InternVLConfig().to_json_string(use_diff=False))
    whole.pop("text_config")
    module = "image_processing_pil_got_ocr2" if VERSION.startswith("5") else "image_processing_got_ocr2"
    processors = importlib.import_module(f"transformers.models.got_ocr2.{module}")
    name = "GotOcr2ImageProcessorPil" if VERSION.startswith("5") else "GotOcr2ImageProcessor"
    with tempfile.TemporaryDirectory() as folder:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(BASE / file, folder)
        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
        tokenizer = json.loads((Path(folder) / "tokenizer_config.json").read_text())
    return {
        "vision": [whole.pop("vision_config")],
        "model_hf": [whole],
        "language": [json.loads(CONFIG_MAPPING[kind]().to_json_string(use_diff=False))
                     for kind in ("qwen2", "qwen3", "qwen3_moe", "gpt_oss", "llama")],
        "generation": [GenerationConfig().to_dict()],
        "image_processor": [json.loads(getattr(processors, name)().to_json_string())],
        "tokenizer": [tokenizer],
    }  # fmt: skip


def case(patches: tuple[dict, dict]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        for name, patch in zip(("tokenizer.json", "tokenizer_config.json"), patches):
            (Path(folder) / name).write_text(json.dumps(merged(json.loads((BASE / name).read_text()), patch)))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = [tokenizer(text)["input_ids"] for text in TEXTS]
        texts = [tokenizer.decode(one, skip_special_tokens=True) for one in ids]
    return {"tokenizer": patches[0], "config": patches[1], "ids": ids, "decoded": texts}


def saved_by_5() -> None:
    folder = OUT / "saved_by_5"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as slow:
        for name in ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"):
            shutil.copy(SLOW / name, slow)
        tokenizer = AutoTokenizer.from_pretrained(slow)
    tokenizer.save_pretrained(folder)
    texts = [*TEXTS, "Hello, world! 1234\n\n  don't", "caf\u00e9 cafe\u0301 \u4e2d\u6587 \U0001f642"]
    write(OUT / "saved_by_5.json", {"texts": texts, "ids": [tokenizer(text)["input_ids"] for text in texts]})


if __name__ == "__main__":
    write(OUT / f"keys_{VERSION}.json", keys())
    if VERSION.startswith("5"):
        cases = [{"name": name} | case(patches) for name, patches in CASES.items()]
        write(OUT / "tokenizers.json", {"transformers": VERSION, "texts": TEXTS, "cases": cases})
        saved_by_5()
