"""Writes a trained state as a checkpoint folder of the published HF format, in bfloat16.

python export.py --state DIR [--checkpoint checkpoint]
"""

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from model import Model
from pixels import MEAN, PATCH, STD, TILE
from prompts import ADDED, SPECIAL, TOKENS_A_TILE, VOCABULARY
from scenes import MAX_TILES

CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}"
    "{% elif content['type'] == 'video' %}{{ '<video>\\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}"
)


def tensors(model):
    """The published names; the head, tied while training, becomes a tensor of its own."""
    s, out = model.sizes, {}

    def put(name, module):
        out[name + ".weight"] = module.weight
        if getattr(module, "bias", None) is not None:
            out[name + ".bias"] = module.bias

    def split(names, sizes, module):
        for name, weight in zip(names, module.weight.split(sizes)):
            out[name + ".weight"] = weight
        if module.bias is not None:
            for name, bias in zip(names, module.bias.split(sizes)):
                out[name + ".bias"] = bias

    vision, at = model.vision, "vision_tower.embeddings."
    out[at + "cls_token"], out[at + "position_embeddings"] = vision.cls, vision.positions
    out[at + "patch_embeddings.projection.weight"] = vision.patch.weight.view(-1, 3, PATCH, PATCH)
    out[at + "patch_embeddings.projection.bias"] = vision.patch.bias
    for i, block in enumerate(vision.blocks):
        at = f"vision_tower.encoder.layer.{i}."
        split([at + f"attention.{n}_proj" for n in "qkv"], 3 * [s.vision_width], block.qkv)
        put(at + "attention.projection_layer", block.proj)
        put(at + "layernorm_before", block.norm1)
        put(at + "layernorm_after", block.norm2)
        put(at + "mlp.fc1", block.fc1)
        put(at + "mlp.fc2", block.fc2)
        out[at + "lambda_1"] = out[at + "lambda_2"] = torch.ones(s.vision_width)
    put("multi_modal_projector.layer_norm", model.projector.norm)
    put("multi_modal_projector.linear_1", model.projector.linear1)
    put("multi_modal_projector.linear_2", model.projector.linear2)
    put("language_model.model.embed_tokens", model.embedding)
    put("language_model.lm_head", model.embedding)
    put("language_model.model.norm", model.norm)
    q, kv = s.query_heads * s.head_dim, s.kv_heads * s.head_dim
    for i, block in enumerate(model.blocks):
        at = f"language_model.model.layers.{i}."
        split([at + f"self_attn.{n}_proj" for n in "qkv"], [q, kv, kv], block.qkv)
        put(at + "self_attn.o_proj", block.proj)
        put(at + "self_attn.q_norm", block.q_norm)
        put(at + "self_attn.k_norm", block.k_norm)
        put(at + "input_layernorm", block.norm1)
        put(at + "post_attention_layernorm", block.norm2)
        split([at + "mlp.gate_proj", at + "mlp.up_proj"], 2 * [s.text_mlp], block.gate_up)
        put(at + "mlp.down_proj", block.down)
    return {name: t.detach().to(torch.bfloat16).clone().contiguous() for name, t in sorted(out.items())}


def config(sizes, ids):
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "image_seq_length": TOKENS_A_TILE,
        "image_token_id": ids["<IMG_CONTEXT>"],
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": False,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "text_config": {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "head_dim": sizes.head_dim,
            "hidden_act": "silu",
            "hidden_size": sizes.text_width,
            "initializer_range": 0.02,
            "intermediate_size": sizes.text_mlp,
            "max_position_embeddings": sizes.max_positions,
            "max_window_layers": sizes.text_layers,
            "num_attention_heads": sizes.query_heads,
            "num_hidden_layers": sizes.text_layers,
            "num_key_value_heads": sizes.kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": sizes.rope_theta,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": VOCABULARY,
        },
        "vision_config": {
            "architectures": ["InternVLVisionModel"],
            "model_type": "internvl_vision",
            "attention_bias": True,
            "attention_dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "hidden_size": sizes.vision_width,
            "image_size": [TILE, TILE],
            "initializer_range": 0.02,
            "intermediate_size": sizes.vision_mlp,
            "layer_norm_eps": 1e-6,
            "layer_scale_init_value": 1.0,
            "norm_type": "layer_norm",
            "num_attention_heads": sizes.vision_heads,
            "num_channels": 3,
            "num_hidden_layers": sizes.vision_layers,
            "patch_size": [PATCH, PATCH],
            "projection_dropout": 0.0,
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,
            "use_qk_norm": False,
        },
    }


def tokenizer_config(sizes, ids):
    added = {
        str(ids[t]): {
            "content": t,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": t in SPECIAL,
        }
        for t in ADDED
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL[1:],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "context_image_token": "<IMG_CONTEXT>",
        "end_image_token": "</img>",
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": sizes.max_positions,
        "pad_token": "<|endoftext|>",
        "processor_class": "InternVLProcessor",
        "split_special_tokens": False,
        "start_image_token": "<img>",
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        "video_token": "<video>",
    }


def preprocessor_config():
    return {
        "crop_size": None,
        "crop_to_patches": True,
        "do_center_crop": None,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(MEAN),
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "image_std": list(STD),
        "max_patches": MAX_TILES,
        "min_patches": 1,
        "processor_class": "InternVLProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": TILE, "width": TILE},
    }


def export(state, folder):
    folder.mkdir(parents=True, exist_ok=True)
    saved = torch.load(state / "newest.pt", weights_only=True)
    model = Model()
    model.load_state_dict(saved["model"])
    ids = Tokenizer.from_file(str(state / "tokenizer.json")).get_vocab()

    def write(name, content):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    save_file(tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    shutil.copy(state / "tokenizer.json", folder / "tokenizer.json")
    write("config.json", config(model.sizes, ids))
    write(
        "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": False,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
    )
    write("tokenizer_config.json", tokenizer_config(model.sizes, ids))
    write("preprocessor_config.json", preprocessor_config())
    write(
        "processor_config.json", {"image_seq_length": TOKENS_A_TILE, "processor_class": "InternVLProcessor"}
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    print(
        json.dumps({"step": saved["step"], "cpu_minutes": round(saved["cpu"] / 60, 1), **asdict(model.sizes)})
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "checkpoint")
    args = parser.parse_args()
    export(args.state, args.checkpoint)


if __name__ == "__main__":
    main()
