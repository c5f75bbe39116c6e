"""Writes quantised/llm_int8.json: what bitsandbytes makes of the tiny HF folders' weights with load_in_8bit, on a CPU.

    python make_int8.py

By folder and module a hash: SHA-256 over the codes [out, in] as int8, then the scales [out] (SCB) as little-endian floats.
Modules without a hash stay floats. Their names are those of the files.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

GOLDEN = Path(__file__).resolve().parent
FOLDERS = ["qwen2_dynamic", "qwen3_tiny", "qwen3_moe_tiny", "gpt_oss_tiny", "vit6b_qwen3"]


def name_in_files(module: str) -> str:
    name = module.removeprefix("model.")
    return name.replace("language_model.", "language_model.model.", 1) if name.startswith("language_model.") else name


def hashes(name: str) -> dict:
    model = AutoModelForImageTextToText.from_pretrained(
        GOLDEN / "models" / name / "hf",
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        device_map="cpu",
        dtype=torch.bfloat16,
    )
    tensors = model.state_dict()
    result = {}
    for key, scales in tensors.items():
        if not key.endswith(".SCB"):
            continue
        module = key.removesuffix(".SCB")
        codes = tensors[module + ".weight"]
        assert codes.dtype == torch.int8 and scales.dtype == torch.float32
        both = codes.contiguous().numpy().tobytes() + scales.contiguous().numpy().astype("<f4").tobytes()
        result[name_in_files(module)] = hashlib.sha256(both).hexdigest()
    return result


def main() -> None:
    versions = {package: version(package) for package in ("accelerate", "bitsandbytes", "torch", "transformers")}
    folders = {name: hashes(name) for name in FOLDERS}
    path = GOLDEN / "quantised" / "llm_int8.json"
    path.write_text(json.dumps({"versions": versions, "folders": folders}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
