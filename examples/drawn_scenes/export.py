"""Writes a trained state as a checkpoint folder: on Qwen3 in the HF format, all in bfloat16; on GPT-OSS
in the GitHub format, the experts in MXFP4 and the rest in bfloat16.

python export.py --state DIR [--checkpoint checkpoint]
python export.py --state DIR --decoder gpt_oss --checkpoint ../drawn_scenes_moe/checkpoint
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import mxfp4
from model import Model
from pixels import MEAN, PATCH, STD, TILE
from prompts import CHATML, TOKENS_A_TILE
from scenes import MAX_TILES
from train import DECODERS

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


class Tensors(dict):
    """Published names and what is stored under them."""

    def put(self, name, module):
        self[name + ".weight"] = module.weight
        if getattr(module, "bias", None) is not None:
            self[name + ".bias"] = module.bias

    def split(self, names, sizes, module):
        for name, weight in zip(names, module.weight.split(sizes)):
            self[name + ".weight"] = weight
        if module.bias is not None:
            for name, bias in zip(names, module.bias.split(sizes)):
                self[name + ".bias"] = bias

    def stored(self):
        """bfloat16, what is packed already as it is."""
        return {
            name: (t if t.dtype == torch.uint8 else t.detach().to(torch.bfloat16)).clone().contiguous()
            for name, t in sorted(self.items())
        }


def put_hf_tower(out, model):
    vision, width = model.vision, model.sizes.vision_width
    at = "vision_tower.embeddings."
    out[at + "cls_token"], out[at + "position_embeddings"] = vision.cls, vision.positions
    out[at + "patch_embeddings.projection.weight"] = vision.patch.weight.view(-1, 3, PATCH, PATCH)
    out[at + "patch_embeddings.projection.bias"] = vision.patch.bias
    for i, block in enumerate(vision.blocks):
        at = f"vision_tower.encoder.layer.{i}."
        out.split([at + f"attention.{n}_proj" for n in "qkv"], 3 * [width], block.qkv)
        out.put(at + "attention.projection_layer", block.proj)
        out.put(at + "layernorm_before", block.norm1)
        out.put(at + "layernorm_after", block.norm2)
        out.put(at + "mlp.fc1", block.fc1)
        out.put(at + "mlp.fc2", block.fc2)
        out[at + "lambda_1"] = out[at + "lambda_2"] = torch.ones(width)
    out.put("multi_modal_projector.layer_norm", model.projector.norm)
    out.put("multi_modal_projector.linear_1", model.projector.linear1)
    out.put("multi_modal_projector.linear_2", model.projector.linear2)


def put_github_tower(out, model):
    vision, width = model.vision, model.sizes.vision_width
    at = "vision_model.embeddings."
    out[at + "class_embedding"], out[at + "position_embedding"] = vision.cls, vision.positions
    out[at + "patch_embedding.weight"] = vision.patch.weight.view(-1, 3, PATCH, PATCH)
    out[at + "patch_embedding.bias"] = vision.patch.bias
    for i, block in enumerate(vision.blocks):
        at = f"vision_model.encoder.layers.{i}."
        out.put(at + "attn.qkv", block.qkv)
        out.put(at + "attn.proj", block.proj)
        out.put(at + "norm1", block.norm1)
        out.put(at + "norm2", block.norm2)
        out.put(at + "mlp.fc1", block.fc1)
        out.put(at + "mlp.fc2", block.fc2)
        out[at + "ls1"] = out[at + "ls2"] = torch.ones(width)
    out.put("mlp1.0", model.projector.norm)
    out.put("mlp1.1", model.projector.linear1)
    out.put("mlp1.3", model.projector.linear2)


def interleaved(rows, sizes):
    """[experts, 2 * mlp, ...] with gate, up, gate, up from an expert's gates before its ups."""
    rows = rows.view(sizes.experts, 2, sizes.text_mlp, *rows.shape[1:])
    return rows.transpose(1, 2).flatten(1, 2)


def put_experts(out, at, block, sizes):
    e = sizes.experts
    put = {
        "gate_up_proj": (interleaved(block.gate_up, sizes), interleaved(block.gate_up_bias, sizes)),
        "down_proj": (block.down.view(e, -1, sizes.text_mlp), block.down_bias.view(e, -1)),
    }
    for name, (weight, bias) in put.items():
        out[at + name + "_blocks"], out[at + name + "_scales"] = mxfp4.pack(weight.detach())
        out[at + name + "_bias"] = bias


def tensors(model):
    """The head, tied while training, becomes a tensor of its own."""
    s, out = model.sizes, Tensors()
    gpt_oss = hasattr(s, "experts")
    (put_github_tower if gpt_oss else put_hf_tower)(out, model)
    out.put("language_model.model.embed_tokens", model.embedding)
    out.put("language_model.lm_head", model.embedding)
    out.put("language_model.model.norm", model.norm)
    q, kv = s.query_heads * s.head_dim, s.kv_heads * s.head_dim
    for i, block in enumerate(model.blocks):
        at = f"language_model.model.layers.{i}."
        out.split([at + f"self_attn.{n}_proj" for n in "qkv"], [q, kv, kv], block.qkv)
        out.put(at + "self_attn.o_proj", block.proj)
        out.put(at + "input_layernorm", block.norm1)
        out.put(at + "post_attention_layernorm", block.norm2)
        if gpt_oss:
            out[at + "self_attn.sinks"] = block.sinks
            out.put(at + "mlp.router", block.router)
            put_experts(out, at + "mlp.experts.", block, s)
        else:
            out.put(at + "self_attn.q_norm", block.q_norm)
            out.put(at + "self_attn.k_norm", block.k_norm)
            out.split([at + "mlp.gate_proj", at + "mlp.up_proj"], 2 * [s.text_mlp], block.gate_up)
            out.put(at + "mlp.down_proj", block.down)
    return out.stored()


def hf_config(sizes, ids):
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
            "vocab_size": sizes.template.vocabulary,
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


def github_config(sizes, ids):
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": TILE,
        "max_dynamic_patch": MAX_TILES,
        "min_dynamic_patch": 1,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl3_5_gpt_oss",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_thumbnail": True,
        "llm_config": {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "attention_bias": True,
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|return|>"],
            "experts_per_token": sizes.active,
            "head_dim": sizes.head_dim,
            "hidden_act": "silu",
            "hidden_size": sizes.text_width,
            "initial_context_length": sizes.yarn_context,
            "initializer_range": 0.02,
            "intermediate_size": sizes.text_mlp,
            "layer_types": ["sliding_attention" if w else "full_attention" for w in sizes.windows],
            "max_position_embeddings": sizes.max_positions,
            "num_attention_heads": sizes.query_heads,
            "num_experts_per_tok": sizes.active,
            "num_hidden_layers": sizes.text_layers,
            "num_key_value_heads": sizes.kv_heads,
            "num_local_experts": sizes.experts,
            "output_router_logits": False,
            "pad_token_id": ids["<|endoftext|>"],
            "quantization_config": {
                "quant_method": "mxfp4",
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
            },
            "rms_norm_eps": sizes.norm_eps,
            "rope_scaling": {
                "beta_fast": sizes.yarn_beta_fast,
                "beta_slow": sizes.yarn_beta_slow,
                "factor": sizes.yarn_factor,
                "original_max_position_embeddings": sizes.yarn_context,
                "rope_type": "yarn",
                "truncate": False,
            },
            "rope_theta": sizes.rope_theta,
            "router_aux_loss_coef": 0.01,
            "sliding_window": max(w for w in sizes.windows if w),
            "swiglu_limit": sizes.swiglu_limit,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": sizes.template.vocabulary,
        },
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "attention_dropout": 0.0,
            "drop_path_rate": 0.0,
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": sizes.vision_width,
            "image_size": TILE,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "intermediate_size": sizes.vision_mlp,
            "layer_norm_eps": 1e-6,
            "norm_type": "layer_norm",
            "num_attention_heads": sizes.vision_heads,
            "num_channels": 3,
            "num_hidden_layers": sizes.vision_layers,
            "patch_size": PATCH,
            "qk_normalization": False,
            "qkv_bias": True,
            "torch_dtype": "bfloat16",
        },
    }


def tokenizer_config(sizes, ids):
    template = sizes.template
    added = {
        str(ids[t]): {
            "content": t,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": t in template.special,
        }
        for t in template.added
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": list(template.special[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "context_image_token": "<IMG_CONTEXT>",
        "end_image_token": "</img>",
        "eos_token": template.end,
        "errors": "replace",
        "model_max_length": sizes.max_positions,
        "pad_token": "<|endoftext|>",
        "processor_class": "InternVLProcessor",
        "split_special_tokens": False,
        "start_image_token": "<img>",
        "tokenizer_class": "Qwen2Tokenizer" if template is CHATML else "PreTrainedTokenizerFast",
        "unk_token": None,
        "video_token": "<video>",
    }


def github_preprocessor_config():
    return {
        "crop_size": TILE,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "resample": 3,
        "size": TILE,
    }


def hf_preprocessor_config():
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


def export(state, sizes, folder):
    folder.mkdir(parents=True, exist_ok=True)
    saved = torch.load(state / "newest.pt", weights_only=True)
    model = Model(sizes)
    model.load_state_dict(saved["model"])
    ids = Tokenizer.from_file(str(state / "tokenizer.json")).get_vocab()

    def write(name, content):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    save_file(tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    shutil.copy(state / "tokenizer.json", folder / "tokenizer.json")
    write(
        "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": False,
            "eos_token_id": ids[sizes.template.end],
            "pad_token_id": ids["<|endoftext|>"],
        },
    )
    write("tokenizer_config.json", tokenizer_config(sizes, ids))
    if sizes.template is CHATML:
        write("config.json", hf_config(sizes, ids))
        write("preprocessor_config.json", hf_preprocessor_config())
        processor = {"image_seq_length": TOKENS_A_TILE, "processor_class": "InternVLProcessor"}
        write("processor_config.json", processor)
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    else:
        write("config.json", github_config(sizes, ids))
        write("preprocessor_config.json", github_preprocessor_config())
    print(json.dumps({"step": saved["step"], "cpu_minutes": round(saved["cpu"] / 60, 1)}))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--decoder", choices=DECODERS, default="qwen3")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "checkpoint")
    args = parser.parse_args()
    export(args.state, DECODERS[args.decoder], args.checkpoint)


if __name__ == "__main__":
    main()
