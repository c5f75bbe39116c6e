"""A checkpoint folder of either format as transformers' own model, in float32.

transformers does not read the GitHub format, so its tensors are renamed and its MXFP4 experts
expanded, which is exact.
"""

import json
import re

import torch
from safetensors.torch import load_file
from transformers import GptOssConfig, InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig

import mxfp4

RENAMED = [
    ("vision_model.embeddings.class_embedding", "model.vision_tower.embeddings.cls_token"),
    ("vision_model.embeddings.position_embedding", "model.vision_tower.embeddings.position_embeddings"),
    ("vision_model.embeddings.patch_embedding", "model.vision_tower.embeddings.patch_embeddings.projection"),
    ("vision_model.encoder.layers.", "model.vision_tower.encoder.layer."),
    (".attn.proj.", ".attention.projection_layer."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".ls1", ".lambda_1"),
    (".ls2", ".lambda_2"),
    ("mlp1.0.", "model.multi_modal_projector.layer_norm."),
    ("mlp1.1.", "model.multi_modal_projector.linear_1."),
    ("mlp1.3.", "model.multi_modal_projector.linear_2."),
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
]


def renamed(stored):
    weights = {}
    for name, tensor in stored.items():
        if name.endswith("_scales"):
            continue
        if name.endswith("_blocks"):
            scales = stored[name.replace("_blocks", "_scales")]
            name, tensor = name.removesuffix("_blocks"), mxfp4.unpack(tensor, scales).transpose(1, 2)
        for old, new in RENAMED:
            name = name.replace(old, new)
        tensor = tensor.float()
        if fused := re.match(r"(.*\.)attn\.qkv(\..*)", name):
            for letter, part in zip("qkv", tensor.chunk(3)):
                weights[f"{fused[1]}attention.{letter}_proj{fused[2]}"] = part
        else:
            weights[name] = tensor
    return weights


def vision_config(v):
    same = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "norm_type"]
    return InternVLVisionConfig(
        **{key: v[key] for key in [*same, "hidden_act", "layer_norm_eps", "num_channels"]},
        attention_bias=v["qkv_bias"],
        use_qk_norm=v["qk_normalization"],
        image_size=[v["image_size"]] * 2,
        patch_size=[v["patch_size"]] * 2,
        use_absolute_position_embeddings=True,
        use_mean_pooling=True,
        use_mask_token=False,
    )


def language_config(c):
    left_out = ["quantization_config", "rope_scaling", "rope_theta", "torch_dtype", "model_type"]
    same = {key: value for key, value in c.items() if key not in [*left_out, "experts_per_token"]}
    return GptOssConfig(**same, rope_parameters={**c["rope_scaling"], "rope_theta": c["rope_theta"]})


def published_model(folder, image_id):
    config = json.loads((folder / "config.json").read_text())
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if config["model_type"] == "internvl":
        return InternVLForConditionalGeneration.from_pretrained(folder, **options).eval()
    whole = InternVLConfig(
        vision_config=vision_config(config["vision_config"]),
        text_config=language_config(config["llm_config"]),
        image_token_id=image_id,
        downsample_ratio=config["downsample_ratio"],
        tie_word_embeddings=config["tie_word_embeddings"],
    )
    model = InternVLForConditionalGeneration._from_config(whole, **options)
    model.load_state_dict(renamed(load_file(folder / "model.safetensors")))
    return model.eval()
