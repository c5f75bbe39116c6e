"""Runs the github/ folders through the GitHub format's own published code and compares with the golden files.

    python check_github_format.py --internvl PATH

PATH is the checkout that make_prompts.py describes. The tower and the pixel shuffle are the published classes, loaded
with strict names; the decoder is the class that llm_config names; only the few lines of extract_feature() and generate()
that connect them stand here, since the published model class does not import under today's transformers.
"""

import argparse
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path

import safetensors.torch
import torch
import transformers

from make_models import MODELS

PACKAGE = "internvl_chat_gpt_oss/internvl/model/internvl_chat"
BOUND = 2e-5  # both sides compute in float32, in another order


def import_published(checkout: Path) -> types.SimpleNamespace:
    timm = types.ModuleType("timm.layers")
    timm.DropPath = lambda rate: torch.nn.Identity()  # as it is at inference
    sys.modules |= {"timm": types.ModuleType("timm"), "timm.layers": timm}
    package = types.ModuleType("published")
    package.__path__ = [str(checkout / PACKAGE)]
    sys.modules["published"] = package
    source = (checkout / PACKAGE / "modeling_internvl_chat.py").read_text()
    method = source[source.index("    def pixel_shuffle") : source.index("    def extract_feature")]
    holder: dict = {}
    exec("import warnings\nclass Holder:\n" + method, holder)
    return types.SimpleNamespace(
        tower=importlib.import_module("published.modeling_intern_vit").InternVisionModel,
        tower_config=importlib.import_module("published.configuration_intern_vit").InternVisionConfig,
        pixel_shuffle=holder["Holder"].pixel_shuffle,
    )


def load_folder(folder: Path) -> dict[str, torch.Tensor]:
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= safetensors.torch.load_file(file)
    return {name: tensor.to(torch.float32) for name, tensor in weights.items()}


def load_part(module: torch.nn.Module, weights: dict[str, torch.Tensor], prefix: str) -> torch.nn.Module:
    part = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    module.load_state_dict(part, strict=True)
    return module.eval()


def load_decoder(config: dict, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """By way of a folder, since transformers joins the experts of Qwen3-MoE on loading."""
    prefix = "language_model."
    part = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config).replace('"internlm3"', '"llama"'))
        safetensors.torch.save_file(part, Path(folder) / "model.safetensors", {"format": "pt"})
        # transformers has InternLM3's layers as Llama's.
        name = config["architectures"][0].replace("InternLM3", "Llama")
        model, report = getattr(transformers, name).from_pretrained(
            folder, dtype=torch.float32, experts_implementation="eager", output_loading_info=True
        )
    for kind, names in report.items():
        if names:
            raise SystemExit(f"the decoder reports {kind}: {names}")
    return model.eval()


@torch.no_grad()
def check(case: Path, published: types.SimpleNamespace) -> None:
    config = json.loads((case / "github" / "config.json").read_text())
    golden = safetensors.torch.load_file(case / "golden.safetensors")
    weights = load_folder(case / "github")
    vision = config["vision_config"]
    width, text_width = vision["hidden_size"], config["llm_config"]["hidden_size"]
    image_token = json.loads((case / "hf" / "config.json").read_text())["image_token_id"]

    tower = load_part(
        published.tower(published.tower_config(**vision | {"use_flash_attn": False})), weights, "vision_model."
    )
    projector = torch.nn.Sequential(
        torch.nn.LayerNorm(4 * width), torch.nn.Linear(4 * width, text_width), torch.nn.GELU(),
        torch.nn.Linear(text_width, text_width),
    )  # fmt: skip
    load_part(projector, weights, "mlp1.")
    decoder = load_decoder(config["llm_config"], weights)

    found = {}
    blocks = tower(pixel_values=golden["pixel_values"], return_dict=True).last_hidden_state
    found[f"vision.layer.{vision['num_hidden_layers'] - 1}"] = blocks
    patches = blocks[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    grid = patches.reshape(len(patches), side, side, width)
    shuffled = published.pixel_shuffle(types.SimpleNamespace(ps_version=config["ps_version"]), grid, scale_factor=0.5)
    found["projector.shuffled"] = shuffled.reshape(len(patches), -1, 4 * width)
    found["projector.output"] = projector(found["projector.shuffled"])
    embedded = decoder.get_input_embeddings()(golden["input_ids"].to(torch.int64))
    embedded[golden["input_ids"] == image_token] = found["projector.output"].reshape(-1, text_width)
    found["logits"] = decoder(inputs_embeds=embedded[None]).logits[0]

    for name, value in found.items():
        error = float((value - golden[name]).abs().max())
        print(f"{case.name}: {name} differs by {error:.1e}")
        if not error <= BOUND:
            raise SystemExit(f"more than {BOUND}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--internvl", type=Path, required=True)
    published = import_published(parser.parse_args().internvl)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for case in sorted(MODELS.iterdir()):
        check(case, published)


if __name__ == "__main__":
    main()
