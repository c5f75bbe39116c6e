"""Small LoRA adapters for models/qwen3_tiny, as PEFT saves them, with the hashes of the weights that PEFT merges.

    python make_lora.py

Writes lora/hf and lora/github: adapter_config.json, adapter_model.safetensors, and merged.json, the SHA-256 of every tensor
of the merged model by its published name. README.md says what is in them.
"""

import hashlib
import json
import shutil
from pathlib import Path

import peft
import safetensors.torch
import torch
import transformers

HERE = Path(__file__).resolve().parent
MODEL = HERE / "models" / "qwen3_tiny"


def randomise(model: torch.nn.Module, seed: int) -> None:
    """All of the adapter: PEFT starts B at zero, which would change nothing."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter.dtype)


def published_name(name: str) -> str:
    """What transformers calls a tensor in memory, as it is published."""
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    name = name.removeprefix("model.")
    if name.startswith("language_model.") and not name.startswith("language_model.lm_head"):
        return name.replace("language_model.", "language_model.model.", 1)
    return name


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def module_tree(weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Modules under the names of a folder: nn.Linear where a weight is a matrix, parameters elsewhere."""
    root = torch.nn.Module()
    for name, tensor in weights.items():
        *path, last = name.split(".")
        matrix = weights.get(".".join([*path, "weight"]))
        module = root
        for n, part in enumerate(path):
            if part not in dict(module.named_children()):
                linear = n == len(path) - 1 and matrix is not None and matrix.ndim == 2 and part != "embed_tokens"
                child = torch.nn.Linear(*matrix.shape[::-1], bias=False) if linear else torch.nn.Module()
                module.add_module(part, child)
            module = module.get_submodule(part)
        setattr(module, last, torch.nn.Parameter(tensor, requires_grad=False))
    return root


def write(name: str, model: torch.nn.Module, config: peft.LoraConfig, seed: int, published) -> None:
    folder = HERE / "lora" / name
    shutil.rmtree(folder, ignore_errors=True)
    adapted = peft.get_peft_model(model, config)
    randomise(adapted, seed)
    adapted.peft_config["default"].base_model_name_or_path = MODEL.name
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    merged = {published(name): digest(tensor) for name, tensor in adapted.merge_and_unload().state_dict().items()}
    versions = {"peft": peft.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    text = json.dumps({"versions": versions, "sha256": dict(sorted(merged.items()))}, indent=1)
    (folder / "merged.json").write_text(text + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of what PEFT draws before it is drawn again here

    hf = transformers.InternVLForConditionalGeneration.from_pretrained(MODEL / "hf", dtype=torch.float32)
    config = peft.LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=r".*(q_proj|k_proj|v_proj|o_proj|down_proj|fc1|projection_layer|linear_1|lm_head)",
        rank_pattern={"down_proj": 3, r"language_model\.layers\.[12]\.self_attn\.q_proj": 4},
        alpha_pattern={r"layers\.0\.self_attn\.q_proj": 5, "v_proj": 0.7, "proj": 9},
    )
    write("hf", hf, config, 1, published_name)

    github = module_tree(safetensors.torch.load_file(MODEL / "github" / "model.safetensors"))
    config = peft.LoraConfig(
        r=3,
        lora_alpha=2,
        use_rslora=True,
        target_modules=r".*(qkv|q_proj|up_proj|mlp1\.1)",
        modules_to_save=["mlp1.3"],
    )
    write("github", github, config, 2, lambda name: name)


if __name__ == "__main__":
    main()
