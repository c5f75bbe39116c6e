"""Tiny random checkpoints of every architecture, in both published formats, with what the reference computes on them.

    python make_models.py             all cases
    python make_models.py qwen3_tiny  some of them

Writes models/<case>/hf, models/<case>/github, models/<case>/mxfp4 (mixtures of gpt-oss alone), and models/<case>/golden*.{safetensors,json}. README.md says what is in them.
"""

import argparse
import copy
import dataclasses
import json
import math
import platform
import shutil
from pathlib import Path

import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers

import tiny_tokenizer

HERE = Path(__file__).resolve().parent
MODELS = HERE / "models"
PATCH = 14
MERGES = 24
GENERATED = 24
SMALLEST_MARGIN = 0.01  # between the best two logits of a greedy step; float32 sums in another order move them by 1e-5
KL_PROMPTS = 8
KL_TEXT = 40
ROWS = 320  # of Qwen3 and gpt-oss: more rows than tokens, as the published InternVL3.5 checkpoints have
SMALLEST_ROUTER_MARGIN = 1e-3  # between the last logit that is chosen and the first that is not
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # values of MXFP4's codes 0 ... 7; 8 ... 15 are their negatives
MXFP4_BLOCK = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

HF_CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}"
    "{% elif content['type'] == 'video' %}{{ '<video>\\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}"
)

GPT_OSS_CHAT_TEMPLATE = (
    HF_CHAT_TEMPLATE.replace("<|im_start|>' + message['role'] + '\\n", "<|start|>' + message['role'] + '<|message|>")
    .replace("<|im_start|>assistant\\n", "<|start|>assistant")
    .replace("<|im_end|>\\n", "<|end|>")
)


DYNAMIC_BY_6 = {"factor": 6.0, "rope_type": "dynamic"}  # InternLM3's
DYNAMIC_BY_2 = {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"}  # as in the published InternVL3 configs

# The original context ends within every prompt; truncation would move the ramp.
YARN_BY_4 = {
    "beta_fast": 32.0, "beta_slow": 1.0, "factor": 4.0, "original_max_position_embeddings": 64, "rope_type": "yarn",
    "truncate": False,
}  # fmt: skip
# Longer than two pages of keys.
LONG_QUESTION = (
    "In the first picture there is a house with a red roof, two windows and a door; in the second one, a tree and five "
    "birds, of which three are flying. Which of the two was drawn at night, and how do you know?"
)


@dataclasses.dataclass(frozen=True)
class Vit:
    width: int
    heads: int
    layers: int
    mlp: int
    tile_px: int
    kind: str = "300m"  # "300m": LayerNorm, qkv bias. "6b": RMSNorm, no qkv bias, q and k norms over the full width
    epsilon: float = 1e-6

    @property
    def grid(self) -> int:
        return self.tile_px // PATCH

    @property
    def tokens_per_tile(self) -> int:
        return self.grid * self.grid // 4


@dataclasses.dataclass(frozen=True)
class Decoder:
    kind: str  # "qwen2", "qwen3", "qwen3_moe", "gpt_oss" or "internlm3"
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    epsilon: float = 1e-6
    rope_theta: float = 1000000.0
    rope_scaling: dict | None = None
    max_positions: int = 4096
    writes_head_dim: bool = True
    writes_rope_parameters: bool = False  # in the HF config: the newer spelling, one object for theta and scaling
    experts: int = 0  # 0: dense
    active: int = 0
    window: int = 0  # gpt-oss: of even layers

    @property
    def biases(self) -> bool:
        return self.kind == "gpt_oss"


@dataclasses.dataclass(frozen=True)
class Prompt:
    name: str  # suffix of the golden files' names: golden<name>.safetensors; only the unnamed one stores intermediates
    tiles: tuple[int, ...]  # tiles of each image, thumbnail included
    question: str


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    seed: int
    vit: Vit
    decoder: Decoder
    prompts: tuple[Prompt, ...]
    stream: float = 1.0  # order of magnitude of both residual streams
    hf_names: str = "published"  # "published" or "in_memory" (everything below "model.", and a bare lm_head)
    hf_dtype: torch.dtype = torch.bfloat16
    github_dtype: torch.dtype = torch.bfloat16
    hf_shards: int = 1
    github_shards: int = 1

    @property
    def tokenizer(self) -> dict:
        kind = self.decoder.kind.removesuffix("_moe")
        # InternLM3's own kind is SentencePiece, which has golden files of its own.
        return tiny_tokenizer.tokenizer_json("qwen3" if kind == "internlm3" else kind, MERGES)

    @property
    def ordinary_tokens(self) -> int:
        return len(self.tokenizer["model"]["vocab"])

    @property
    def vocab_rows(self) -> int:
        tokens = self.ordinary_tokens + len(self.tokenizer["added_tokens"])
        return tokens if self.decoder.kind == "qwen2" else ROWS

    @property
    def stop_token(self) -> str:
        return "<|return|>" if self.decoder.kind == "gpt_oss" else "<|im_end|>"

    @property
    def folders(self) -> list[str]:
        return ["hf", "github"] + (["mxfp4"] if self.decoder.kind == "gpt_oss" else [])


CASES = [
    Case(
        name="qwen3_tiny",
        seed=1,
        vit=Vit(width=64, heads=2, layers=1, mlp=80, tile_px=56),
        decoder=Decoder("qwen3", width=48, layers=3, heads=5, kv_heads=1, head_dim=32, mlp=48),
        prompts=(
            Prompt("", (1,), "Describe this image."),
            Prompt("_text", (), "How many circles are there?\n"),
        ),
        hf_dtype=torch.float32,
    ),
    Case(
        name="qwen2_gqa7",
        seed=2,
        vit=Vit(width=32, heads=1, layers=3, mlp=112, tile_px=56),
        decoder=Decoder(
            "qwen2", width=48, layers=3, heads=7, kv_heads=1, head_dim=32, mlp=48, rope_scaling=DYNAMIC_BY_2
        ),
        prompts=(Prompt("", (3,), "What is in the picture?"),),
    ),
    Case(
        name="qwen2_dynamic",
        seed=3,
        vit=Vit(width=32, heads=1, layers=1, mlp=48, tile_px=84),
        decoder=Decoder(
            "qwen2", width=64, layers=3, heads=2, kv_heads=1, head_dim=32, mlp=80, rope_theta=10000.0,
            rope_scaling=DYNAMIC_BY_2, max_positions=64, writes_head_dim=False,
        ),
        prompts=(
            Prompt("", (1,), "How many circles are there, and is the star to the left of the blue square or not?"),
            Prompt("_within", (), "Compare them."),
            Prompt("_crossing", (), "Where is the green triangle, and the star?"),
        ),
    ),
    Case(
        name="vit6b_qwen3",
        seed=4,
        vit=Vit(width=96, heads=3, layers=1, mlp=112, tile_px=56, kind="6b"),
        decoder=Decoder("qwen3", width=48, layers=1, heads=4, kv_heads=2, head_dim=64, mlp=80),
        prompts=(Prompt("", (1, 3), "Compare the two images."),),
        stream=1e-3,
        hf_shards=2,
    ),
    Case(
        name="qwen3_small_stream",
        seed=7,
        vit=Vit(width=64, heads=1, layers=1, mlp=48, tile_px=112, epsilon=2e-6),
        decoder=Decoder(
            "qwen3", width=80, layers=1, heads=2, kv_heads=1, head_dim=128, mlp=112, epsilon=3e-6,
            writes_rope_parameters=True,
        ),
        prompts=(Prompt("", (1,), "What colour is the star?"),),
        stream=1e-3,
        hf_names="in_memory",
        github_shards=3,
    ),
    Case(
        name="qwen3_moe_tiny",
        seed=8,
        vit=Vit(width=32, heads=1, layers=1, mlp=48, tile_px=56),
        decoder=Decoder(
            "qwen3_moe", width=64, layers=2, heads=4, kv_heads=2, head_dim=32, mlp=32, experts=8, active=3,
        ),
        prompts=(Prompt("", (1,), "What is in the picture?"),),
        hf_dtype=torch.float32,
    ),
    Case(
        name="gpt_oss_tiny",
        seed=9,
        vit=Vit(width=32, heads=1, layers=1, mlp=48, tile_px=56),
        decoder=Decoder(
            "gpt_oss", width=64, layers=3, heads=4, kv_heads=2, head_dim=32, mlp=32, epsilon=1e-5, rope_theta=10000.0,
            rope_scaling=YARN_BY_4, max_positions=256, experts=6, active=2, window=16,
        ),
        prompts=(
            Prompt("", (1,), "How many circles are there, and is the star to the left of the blue square or not?"),
            Prompt("_long", (), LONG_QUESTION),
        ),
    ),
    Case(
        name="internlm3_tiny",
        seed=11,
        vit=Vit(width=32, heads=1, layers=1, mlp=48, tile_px=56),
        decoder=Decoder(
            "internlm3", width=64, layers=2, heads=4, kv_heads=1, head_dim=32, mlp=80, epsilon=1e-5,
            rope_theta=50000000.0, rope_scaling=DYNAMIC_BY_6, max_positions=64,
        ),
        prompts=(
            Prompt("", (1,), "How many circles are there, and is the star to the left of the blue square or not?"),
            Prompt("_within", (), "Compare them."),
        ),
    ),
]  # fmt: skip


# --- weights ---------------------------------------------------------------------------------------------------------


def random_weights(case: Case) -> dict[str, torch.Tensor]:
    """float32 tensors under the published HF names, every value exact in bfloat16.

    Gains, biases and layer scales stay away from 0 and 1, so that leaving one out shows.
    """
    rng = np.random.Generator(np.random.PCG64(case.seed))
    weights: dict[str, torch.Tensor] = {}

    def put(name: str, values: np.ndarray) -> None:
        weights[name] = torch.from_numpy(values.astype(np.float32)).to(torch.bfloat16).to(torch.float32)

    def normal(name: str, shape: tuple[int, ...], std: float) -> None:
        put(name, rng.standard_normal(shape) * std)

    def gain(name: str, size: int, scale: float = 1.0) -> None:
        put(name, rng.uniform(0.5, 1.6, size) * rng.choice([-1.0, 1.0], size, p=[0.1, 0.9]) * scale)

    def linear(name: str, rows: int, columns: int, *, bias: bool, scale: float = 1.0) -> None:
        normal(f"{name}.weight", (rows, columns), scale / math.sqrt(columns))
        if bias:
            normal(f"{name}.bias", (rows,), 0.3 * scale)

    def mixture(name: str, experts: int, rows: int, columns: int, scale: float) -> None:
        """[experts, columns, rows], as gpt-oss stores it, with values that MXFP4 has too."""
        values = rng.standard_normal((experts, rows, columns)) * scale / math.sqrt(columns)
        put(name, dequantise(*quantise(values)).swapaxes(1, 2))
        normal(f"{name}_bias", (experts, rows), 0.3 * scale)

    vit, decoder, stream = case.vit, case.decoder, case.stream
    rms = vit.kind == "6b"

    embeddings = "vision_tower.embeddings"
    normal(f"{embeddings}.cls_token", (1, 1, vit.width), 0.7 * stream)
    normal(f"{embeddings}.position_embeddings", (1, vit.grid**2 + 1, vit.width), 0.5 * stream)
    patch = f"{embeddings}.patch_embeddings.projection"
    normal(f"{patch}.weight", (vit.width, 3, PATCH, PATCH), stream / math.sqrt(3 * PATCH * PATCH))
    normal(f"{patch}.bias", (vit.width,), 0.3 * stream)
    for n in range(vit.layers):
        layer = f"vision_tower.encoder.layer.{n}"
        for norm in ("layernorm_before", "layernorm_after"):
            gain(f"{layer}.{norm}.weight", vit.width)
            if not rms:
                normal(f"{layer}.{norm}.bias", (vit.width,), 0.3)
        for part in ("q_proj", "k_proj", "v_proj"):
            normed = rms and part != "v_proj"
            linear(f"{layer}.attention.{part}", vit.width, vit.width, bias=not rms, scale=stream if normed else 1.0)
        if rms:
            gain(f"{layer}.attention.q_norm.weight", vit.width)
            gain(f"{layer}.attention.k_norm.weight", vit.width)
        linear(f"{layer}.attention.projection_layer", vit.width, vit.width, bias=True)
        linear(f"{layer}.mlp.fc1", vit.mlp, vit.width, bias=True)
        linear(f"{layer}.mlp.fc2", vit.width, vit.mlp, bias=True)
        gain(f"{layer}.lambda_1", vit.width, 0.6 * stream)
        gain(f"{layer}.lambda_2", vit.width, 0.6 * stream)

    gain("multi_modal_projector.layer_norm.weight", 4 * vit.width)
    normal("multi_modal_projector.layer_norm.bias", (4 * vit.width,), 0.3)
    linear("multi_modal_projector.linear_1", decoder.width, 4 * vit.width, bias=True, scale=1.5)
    linear("multi_modal_projector.linear_2", decoder.width, decoder.width, bias=True, scale=1.5 * stream)

    gpt_oss = decoder.kind == "gpt_oss"
    head_norm = decoder.kind in ("qwen3", "qwen3_moe")
    qkv_bias = decoder.kind in ("qwen2", "gpt_oss")
    query, key = decoder.heads * decoder.head_dim, decoder.kv_heads * decoder.head_dim
    normal("language_model.model.embed_tokens.weight", (case.vocab_rows, decoder.width), stream)
    for n in range(decoder.layers):
        layer = f"language_model.model.layers.{n}"
        gain(f"{layer}.input_layernorm.weight", decoder.width)
        linear(f"{layer}.self_attn.q_proj", query, decoder.width, bias=qkv_bias, scale=stream if head_norm else 1.0)
        linear(f"{layer}.self_attn.k_proj", key, decoder.width, bias=qkv_bias, scale=stream if head_norm else 1.0)
        linear(f"{layer}.self_attn.v_proj", key, decoder.width, bias=qkv_bias)
        if head_norm:
            gain(f"{layer}.self_attn.q_norm.weight", decoder.head_dim)
            gain(f"{layer}.self_attn.k_norm.weight", decoder.head_dim)
        if gpt_oss:
            normal(f"{layer}.self_attn.sinks", (decoder.heads,), 1.5)
        linear(f"{layer}.self_attn.o_proj", decoder.width, query, bias=gpt_oss, scale=stream)
        gain(f"{layer}.post_attention_layernorm.weight", decoder.width)
        if decoder.experts == 0:
            linear(f"{layer}.mlp.gate_proj", decoder.mlp, decoder.width, bias=False, scale=1.5)
            linear(f"{layer}.mlp.up_proj", decoder.mlp, decoder.width, bias=False)
            linear(f"{layer}.mlp.down_proj", decoder.width, decoder.mlp, bias=False, scale=1.5 * stream)
        elif not gpt_oss:
            linear(f"{layer}.mlp.gate", decoder.experts, decoder.width, bias=False)
            for e in range(decoder.experts):
                expert = f"{layer}.mlp.experts.{e}"
                linear(f"{expert}.gate_proj", decoder.mlp, decoder.width, bias=False, scale=1.5)
                linear(f"{expert}.up_proj", decoder.mlp, decoder.width, bias=False)
                linear(f"{expert}.down_proj", decoder.width, decoder.mlp, bias=False, scale=1.5 * stream)
        else:
            linear(f"{layer}.mlp.router", decoder.experts, decoder.width, bias=True)
            # Large enough that some gates and ups meet the limit of 7.
            mixture(f"{layer}.mlp.experts.gate_up_proj", decoder.experts, 2 * decoder.mlp, decoder.width, 2.5)
            mixture(f"{layer}.mlp.experts.down_proj", decoder.experts, decoder.width, decoder.mlp, 0.5 * stream)
    gain("language_model.model.norm.weight", decoder.width)
    linear("language_model.lm_head", case.vocab_rows, decoder.width, bias=False, scale=2.0)
    # Added tokens and rows without a token stay improbable, so that greedy decoding meets no stop and no padding row.
    weights["language_model.lm_head.weight"][case.ordinary_tokens :] *= 0.25
    return weights


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MXFP4 of [..., columns]: codes of the same shape, and an exponent of two (biased by 127) for each block of columns."""
    blocks = values.reshape(*values.shape[:-1], -1, MXFP4_BLOCK)
    exponents = np.floor(np.log2(np.abs(blocks).max(-1))) - 2  # the largest code is 6 = 1.5 * 2^2
    scaled = blocks / np.exp2(exponents)[..., None]
    codes = np.abs(np.abs(scaled)[..., None] - np.array(E2M1)).argmin(-1) + 8 * (scaled < 0)
    return codes.reshape(values.shape).astype(np.uint8), (exponents + 127).astype(np.uint8)


def dequantise(codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    values = np.array([*E2M1, *(-value for value in E2M1)])[codes]
    return values * np.repeat(np.exp2(exponents.astype(np.float64) - 127), MXFP4_BLOCK, axis=-1)


def mxfp4_weights(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values with gpt-oss's experts as *_blocks, two codes a byte (the first in the low half), and *_scales."""
    stored = {}
    for name, tensor in published.items():
        if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            stored[name] = tensor.to(torch.bfloat16)
            continue
        values = tensor.numpy().astype(np.float64).swapaxes(1, 2)
        codes, exponents = quantise(values)
        if not (dequantise(codes, exponents) == values).all():
            raise SystemExit(f"{name}: MXFP4 has not all of its values")
        pairs = codes.reshape(*codes.shape[:-1], -1, MXFP4_BLOCK // 2, 2)
        stored[f"{name}_blocks"] = torch.from_numpy(pairs[..., 0] | pairs[..., 1] << 4)
        stored[f"{name}_scales"] = torch.from_numpy(exponents)
    return stored


def in_memory_name(published: str) -> str:
    """The spelling of some saves of transformers 4.5x: everything below 'model.', and a bare lm_head."""
    if published.startswith("language_model.lm_head."):
        return published.removeprefix("language_model.")
    return "model." + published.replace("language_model.model.", "language_model.")


def github_weights(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values under the GitHub format's names: q, k and v fused to one tensor, everything else renamed."""
    renames = [
        ("vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"),
        ("vision_tower.embeddings.patch_embeddings.projection", "vision_model.embeddings.patch_embedding"),
        ("vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"),
        ("vision_tower.encoder.layer.", "vision_model.encoder.layers."),
        (".attention.projection_layer.", ".attn.proj."),
        (".attention.", ".attn."),
        (".layernorm_before.", ".norm1."),
        (".layernorm_after.", ".norm2."),
        (".lambda_", ".ls"),
        ("multi_modal_projector.layer_norm.", "mlp1.0."),
        ("multi_modal_projector.linear_1.", "mlp1.1."),
        ("multi_modal_projector.linear_2.", "mlp1.3."),
    ]
    renamed = {}
    for name, tensor in published.items():
        for old, new in renames:
            name = name.replace(old, new)
        renamed[name] = tensor
    fused = {}
    for name, tensor in renamed.items():
        if ".attn.q_proj." in name:
            parts = [renamed[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            fused[name.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
        elif ".attn.k_proj." not in name and ".attn.v_proj." not in name:
            fused[name] = tensor
    return fused


def save_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict | None = None) -> None:
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(0o644)


def save_weights(folder: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype | None, shards: int) -> None:
    tensors = {name: tensor.to(dtype) if dtype else tensor for name, tensor in weights.items()}
    if shards == 1:
        save_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
        return
    names = list(tensors)
    weight_map = {}
    for n in range(shards):
        file = f"model-{n + 1:05}-of-{shards:05}.safetensors"
        chosen = names[n * len(names) // shards : (n + 1) * len(names) // shards]
        save_safetensors(folder / file, {name: tensors[name] for name in chosen}, {"format": "pt"})
        weight_map |= dict.fromkeys(chosen, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_pretty(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )


# --- configs ---------------------------------------------------------------------------------------------------------


ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "internlm3": "InternLM3ForCausalLM",
}


def decoder_config(case: Case) -> dict:
    decoder = case.decoder
    qwen2, gpt_oss = decoder.kind == "qwen2", decoder.kind == "gpt_oss"
    config = {
        "architectures": [ARCHITECTURES[decoder.kind]],
        "attention_dropout": 0.0,
        "bos_token_id": tiny_tokenizer.token_id(case.tokenizer, "<|endoftext|>"),
        "eos_token_id": tiny_tokenizer.token_id(case.tokenizer, "<|endoftext|>" if qwen2 else case.stop_token),
        "head_dim": decoder.head_dim,
        "hidden_act": "silu",
        "hidden_size": decoder.width,
        "initializer_range": 0.02,
        "intermediate_size": decoder.mlp,
        "max_position_embeddings": decoder.max_positions,
        "max_window_layers": 70,
        "model_type": decoder.kind,
        "num_attention_heads": decoder.heads,
        "num_hidden_layers": decoder.layers,
        "num_key_value_heads": decoder.kv_heads,
        "rms_norm_eps": decoder.epsilon,
        "rope_scaling": decoder.rope_scaling,
        "rope_theta": decoder.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": case.vocab_rows,
    }
    if not qwen2:
        config["attention_bias"] = gpt_oss
    if decoder.kind == "internlm3":
        del config["max_window_layers"], config["use_sliding_window"], config["attention_bias"]
        config |= {"bias": False, "qkv_bias": False}
    if decoder.kind == "qwen3_moe":
        config |= {
            "decoder_sparse_step": 1,
            "intermediate_size": 3 * decoder.mlp,  # of dense layers, which there are none of
            "mlp_only_layers": [],
            "moe_intermediate_size": decoder.mlp,
            "norm_topk_prob": True,
            "num_experts": decoder.experts,
            "num_experts_per_tok": decoder.active,
        }
    if gpt_oss:
        del config["max_window_layers"], config["use_sliding_window"]
        config |= {
            "experts_per_token": decoder.active,
            "initial_context_length": decoder.rope_scaling["original_max_position_embeddings"],
            "layer_types": [("sliding_attention", "full_attention")[n % 2] for n in range(decoder.layers)],
            "num_experts_per_tok": decoder.active,
            "num_local_experts": decoder.experts,
            "sliding_window": decoder.window,
            "swiglu_limit": 7.0,
        }
    if not decoder.writes_head_dim:
        del config["head_dim"]
    return config


def hf_config(case: Case) -> dict:
    vit = case.vit
    text_config = decoder_config(case)
    if case.decoder.writes_rope_parameters:
        del text_config["rope_scaling"], text_config["rope_theta"]
        text_config["rope_parameters"] = {"rope_theta": case.decoder.rope_theta, "rope_type": "default"}
    stop = tiny_tokenizer.token_id(case.tokenizer, case.stop_token)
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "downsample_ratio": 0.5,
        "image_seq_length": vit.tokens_per_tile,
        "image_token_id": tiny_tokenizer.token_id(case.tokenizer, "<IMG_CONTEXT>"),
        "model_type": "internvl",
        "projector_hidden_act": "gelu",
        "text_config": {**text_config, "eos_token_id": stop},
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_bias": vit.kind == "300m",
            "attention_dropout": 0.0,
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "hidden_size": vit.width,
            "image_size": [vit.tile_px, vit.tile_px],
            "initializer_factor": 0.1,
            "initializer_range": 1e-10,
            "intermediate_size": vit.mlp,
            "layer_norm_eps": vit.epsilon,
            "layer_scale_init_value": 0.1,
            "model_type": "internvl_vision",
            "norm_type": "layer_norm" if vit.kind == "300m" else "rms_norm",
            "num_attention_heads": vit.heads,
            "num_channels": 3,
            "num_hidden_layers": vit.layers,
            "patch_size": [PATCH, PATCH],
            "projection_dropout": 0.0,
            "torch_dtype": "bfloat16",
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,
            "use_qk_norm": vit.kind == "6b",
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }


def github_config(case: Case) -> dict:
    vit = case.vit
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {
            "AutoConfig": "configuration_internvl_chat.InternVLChatConfig",
            "AutoModel": "modeling_internvl_chat.InternVLChatModel",
            "AutoModelForCausalLM": "modeling_internvl_chat.InternVLChatModel",
        },
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": vit.tile_px,
        "image_fold": None,
        "llm_config": decoder_config(case),
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "system_message": None,
        "template": "internvl3_5_gpt_oss" if case.decoder.kind == "gpt_oss" else "internvl2_5",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_dropout": 0.0,
            "drop_path_rate": 0.0,
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": vit.width,
            "image_size": vit.tile_px,
            "initializer_factor": 0.1,
            "initializer_range": 1e-10,
            "intermediate_size": vit.mlp,
            "layer_norm_eps": vit.epsilon,
            "model_type": "intern_vit_6b",
            "norm_type": "layer_norm" if vit.kind == "300m" else "rms_norm",
            "num_attention_heads": vit.heads,
            "num_channels": 3,
            "num_hidden_layers": vit.layers,
            "patch_size": PATCH,
            "qk_normalization": vit.kind == "6b",
            "qkv_bias": vit.kind == "300m",
            "torch_dtype": "bfloat16",
            "use_bfloat16": True,
            "use_flash_attn": True,
        },
    }


def preprocessor_config(case: Case) -> dict:
    return {
        "crop_size": None,
        "crop_to_patches": False,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(MEAN),
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "image_std": list(STD),
        "max_patches": 12,
        "min_patches": 1,
        "processor_class": "InternVLProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": case.vit.tile_px, "width": case.vit.tile_px},
    }


def write_pretty(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=True, indent=2) + "\n")


def write_checkpoints(case: Case) -> None:
    folder = MODELS / case.name
    shutil.rmtree(folder, ignore_errors=True)
    weights = random_weights(case)
    generation = {
        "bos_token_id": tiny_tokenizer.token_id(case.tokenizer, "<|endoftext|>"),
        "eos_token_id": tiny_tokenizer.token_id(case.tokenizer, case.stop_token),
        "pad_token_id": tiny_tokenizer.token_id(case.tokenizer, "<|endoftext|>"),
    }

    hf = folder / "hf"
    hf.mkdir(parents=True)
    if case.hf_names == "in_memory":
        save_weights(hf, {in_memory_name(name): w for name, w in weights.items()}, case.hf_dtype, case.hf_shards)
    else:
        save_weights(hf, weights, case.hf_dtype, case.hf_shards)
    write_pretty(hf / "config.json", hf_config(case))
    write_pretty(hf / "generation_config.json", generation)
    write_pretty(hf / "preprocessor_config.json", preprocessor_config(case))
    tiny_tokenizer.write_tokenizer_json(hf, case.tokenizer)
    tiny_tokenizer.write_json(hf / "tokenizer_config.json", tiny_tokenizer.tokenizer_config(case.tokenizer))
    template = GPT_OSS_CHAT_TEMPLATE if case.decoder.kind == "gpt_oss" else HF_CHAT_TEMPLATE
    (hf / "chat_template.jinja").write_text(template)

    if "mxfp4" in case.folders:  # as the published gpt-oss
        mxfp4 = folder / "mxfp4"
        shutil.copytree(hf, mxfp4, ignore=shutil.ignore_patterns("*.safetensors*"))
        save_weights(mxfp4, mxfp4_weights(weights), None, 1)
        config = hf_config(case)
        config["text_config"]["quantization_config"] = {
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
            "quant_method": "mxfp4",
        }
        write_pretty(mxfp4 / "config.json", config)

    github = folder / "github"
    github.mkdir()
    save_weights(github, github_weights(weights), case.github_dtype, case.github_shards)
    write_pretty(github / "config.json", github_config(case))
    write_pretty(github / "generation_config.json", generation)
    tiny_tokenizer.write_json(github / "tokenizer_config.json", tiny_tokenizer.tokenizer_config(case.tokenizer))
    if case.decoder.kind == "qwen2":  # as published: InternVL3 in this format has only the older tokenizer files
        tiny_tokenizer.write_vocab_and_merges(github, case.tokenizer)
    else:
        tiny_tokenizer.write_tokenizer_json(github, case.tokenizer)


# --- inputs ----------------------------------------------------------------------------------------------------------


def prompt_text(case: Case, prompt: Prompt) -> str:
    """The HF chat template's text after the processor has expanded the images."""
    images = "".join(
        "<img>" + "<IMG_CONTEXT>" * (tiles * case.vit.tokens_per_tile) + "</img>\n" for tiles in prompt.tiles
    )
    if case.decoder.kind == "gpt_oss":
        return f"<|start|>user<|message|>{images}{prompt.question}<|end|><|start|>assistant"
    return f"<|im_start|>user\n{images}{prompt.question}<|im_end|>\n<|im_start|>assistant\n"


def random_tiles(case: Case, prompt: Prompt) -> np.ndarray:
    """uint8 [tiles, tile_px, tile_px, 3]: gradients in other directions for each tile and channel, under noise."""
    rng = np.random.Generator(np.random.PCG64([case.seed, sum(prompt.tiles)]))
    px = case.vit.tile_px
    y, x = np.mgrid[0:px, 0:px] / px
    tiles = np.empty((sum(prompt.tiles), px, px, 3), np.uint8)
    for tile in tiles:
        for channel in range(3):
            a, b, c = rng.uniform(-1, 1, 3)
            wave = 127 + 100 * np.sin(6 * (a * x + b * y) + 3 * c)
            tile[:, :, channel] = np.clip(wave + rng.normal(0, 30, (px, px)), 0, 255).astype(np.uint8)
    return tiles


def normalise(tiles: np.ndarray) -> torch.Tensor:
    """float32 [tiles, 3, tile_px, tile_px], by torchvision's ToTensor and Normalize."""
    pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2).to(torch.float32).div(255)
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (MEAN, STD))
    return pixels.sub(mean).div(std).contiguous()


# --- the reference ---------------------------------------------------------------------------------------------------


def load_reference(case: Case, dtype: torch.dtype, attention: str = "sdpa"):
    """A fresh model for every run, since dynamic rope keeps state in the module.

    from_pretrained(dtype=...) keeps the rope frequencies in float32; model.to(bfloat16) would round them.
    """
    attentions = dict.fromkeys(("", "vision_config", "text_config"), attention)
    if case.decoder.kind == "gpt_oss":
        attentions["text_config"] = "eager"  # sdpa has no sinks
    model, report = transformers.InternVLForConditionalGeneration.from_pretrained(
        MODELS / case.name / "hf",
        dtype=dtype,
        attn_implementation=attentions,
        experts_implementation="eager",  # the grouped product, its default, has no float64
        output_loading_info=True,
    )
    for kind, names in report.items():
        if names:
            raise SystemExit(f"{case.name}: the reference reports {kind}: {names}")
    return model.eval()


def inputs_of(ids: torch.Tensor, pixels: torch.Tensor | None) -> dict:
    inputs = {"input_ids": ids[None].to(torch.int64), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
    if pixels is not None:
        inputs["pixel_values"] = pixels
    return inputs


@torch.no_grad()
def run_logits(case: Case, ids, pixels, dtype: torch.dtype, attention: str = "sdpa") -> torch.Tensor:
    return load_reference(case, dtype, attention)(**inputs_of(ids, pixels)).logits[0]


def router_logits_of(model) -> list[torch.Tensor]:
    """A list that every later call of a router appends its logits to, [rows, experts]."""
    found: list[torch.Tensor] = []
    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.register_forward_hook(lambda _module, _inputs, output: found.append(output[0]))
    return found


def require_clear_routes(case: Case, logits: list[torch.Tensor]) -> float:
    """The smallest margin; exits where float32 sums in another order might route a row elsewhere."""
    best = [rows.topk(case.decoder.active + 1).values for rows in logits]
    margin = min(float((rows[:, -2] - rows[:, -1]).min()) for rows in best)
    if margin < SMALLEST_ROUTER_MARGIN:
        raise SystemExit(f"{case.name}: a route is too close, {margin}; draw anew")
    return margin


@torch.no_grad()
def run_with_intermediates(case: Case, ids, pixels) -> dict[str, torch.Tensor]:
    model = load_reference(case, torch.float32)
    found: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = output if isinstance(output, torch.Tensor) else output[0]

        return hook

    vision, projector, language = (
        model.model.vision_tower,
        model.model.multi_modal_projector,
        model.model.language_model,
    )
    vision.embeddings.register_forward_hook(keep("vision.embeddings"))
    for n, layer in enumerate(vision.encoder.layer):
        layer.register_forward_hook(keep(f"vision.layer.{n}"))
    projector.register_forward_pre_hook(lambda _module, inputs: found.update({"projector.shuffled": inputs[0]}))
    projector.register_forward_hook(keep("projector.output"))
    language.layers[0].register_forward_pre_hook(
        lambda _module, inputs: found.update({"decoder.embeddings": inputs[0][0]})
    )
    for n, layer in enumerate(language.layers):
        layer.register_forward_hook(lambda m, i, output, n=n: found.update({f"decoder.layer.{n}": output[0]}))
    language.norm.register_forward_hook(lambda m, i, output: found.update({"decoder.norm": output[0]}))
    routers = router_logits_of(model)
    found["logits"] = model(**inputs_of(ids, pixels)).logits[0]
    if routers:
        require_clear_routes(case, routers)
        for layer, logits in enumerate(routers):
            chosen = logits.topk(case.decoder.active).indices
            if len(chosen.unique()) < case.decoder.experts:
                raise SystemExit(f"{case.name}: layer {layer} uses only the experts {chosen.unique().tolist()}")
    found["decoder.inv_freq"] = language.rotary_emb.inv_freq
    return found


@torch.no_grad()
def run_greedy(case: Case, ids, pixels) -> tuple[torch.Tensor, torch.Tensor]:
    """The reference's own generate(), with its cache, no stop token: ids [GENERATED] and their logits [GENERATED, V]."""
    model = load_reference(case, torch.float32)
    model.generation_config.eos_token_id = None  # generate() would fill a None below from here
    routers = router_logits_of(model)
    result = model.generate(
        **inputs_of(ids, pixels),
        generation_config=transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=GENERATED,
            pad_token_id=0,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        ),
    )
    if routers:
        require_clear_routes(case, routers)
    generated = result.sequences[0, len(ids) :]
    if len(generated) != GENERATED or generated.max() >= case.ordinary_tokens:
        raise SystemExit(f"{case.name}: the reference stopped or generated an added token: {generated.tolist()}")
    return generated, torch.cat(result.logits)


def kl(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(reference || other) of each row, in nats, computed in float64."""
    log_p, log_q = (logits.to(torch.float64).log_softmax(-1) for logits in (reference, other))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def top_margin(logits: torch.Tensor) -> float:
    best = logits.topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


def epsilon_attribute(module: torch.nn.Module) -> str | None:
    return next((name for name in ("eps", "variance_epsilon") if hasattr(module, name)), None)


def smallest_change_by_a_number(model, change, require) -> float:
    """Changes each of the numbers that only gpt-oss has, one at a time."""
    language = model.model.language_model
    experts = [layer.mlp.experts for layer in language.layers]
    rotary, config = language.rotary_emb, language.config
    truncated = copy.deepcopy(config)
    truncated.rope_parameters["truncate"] = True
    changes = {}

    def try_values(name: str, objects: list, attribute: str, value) -> None:
        originals = [getattr(one, attribute) for one in objects]
        for one in objects:
            setattr(one, attribute, value)
        changes[name] = change()
        for one, original in zip(objects, originals):
            setattr(one, attribute, original)
        require(changes[name] > 1e-3, name, changes[name])

    try_values("the limit of the gates", experts, "limit", 1000.0)
    try_values("alpha", experts, "alpha", 1.6)
    try_values("the window", [config], "sliding_window", config.sliding_window + 1)
    try_values("the attention factor", [rotary], "attention_scaling", 1.0)
    inv_freq = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["yarn"](truncated)[0]
    try_values("truncation", [rotary], "inv_freq", inv_freq)
    return min(changes.values())


@torch.no_grad()
def check_that_everything_shows(case: Case, ids, pixels, logits) -> dict[str, float]:
    """Changes every tensor by a quarter of its spread, and in small streams every epsilon to its triple, one at a time.

    Returns the smallest change of the logits over all tensors and over all epsilons; exits where one does not show.
    """
    model = load_reference(case, torch.float32)
    generator = torch.Generator().manual_seed(case.seed)

    def change() -> float:
        return float((model(**inputs_of(ids, pixels)).logits[0] - logits).abs().max())

    def require(ok: bool, name: str, value: float) -> None:
        if not ok:
            raise SystemExit(f"{case.name}: changing {name} changes the logits by {value}")

    changes = {}
    for name, parameter in model.named_parameters():
        original = parameter.clone()
        parameter += 0.25 * original.std() * torch.randn(original.shape, generator=generator)
        value = change()
        parameter.copy_(original)
        if "vision_tower" in name and name.endswith("k_proj.bias"):
            # Adds the same number to all scores of a query: the softmax cannot see it, so no logits test can.
            require(value < 1e-4, name, value)
        else:
            require(value > 1e-3, name, value)
            changes[name] = value
    report = {"smallest_change_by_a_tensor": min(changes.values())}
    if case.decoder.kind == "gpt_oss":
        report["smallest_change_by_a_number"] = smallest_change_by_a_number(model, change, require)

    if case.stream < 1:
        epsilons = {}
        for name, module in model.named_modules():
            if attribute := epsilon_attribute(module):
                original = getattr(module, attribute)
                setattr(module, attribute, 3 * original)
                epsilons[name] = change()
                setattr(module, attribute, original)
                require(epsilons[name] > 1e-3, f"the epsilon of {name}", epsilons[name])
        report["smallest_change_by_an_epsilon"] = min(epsilons.values())
    return report


def bfloat16_statistics(case: Case, ids, pixels) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The reference's own bfloat16 distance over KL_PROMPTS prompts, since one prompt is too noisy to compare with.

    Prompt n keeps the image part of ids, goes on with KL_TEXT random ordinary ids, and sees pixels * (1 - n / KL_PROMPTS).
    """
    generator = torch.Generator().manual_seed(case.seed)
    image_token = tiny_tokenizer.token_id(case.tokenizer, "<IMG_CONTEXT>")
    image_part = ids[: 2 + int((ids == image_token).nonzero().max())]
    all_ids, by_attention = [], {"sdpa": [], "eager": []}
    for n in range(KL_PROMPTS):
        text = torch.randint(case.ordinary_tokens, (KL_TEXT,), generator=generator, dtype=torch.int32)
        all_ids.append(torch.cat([image_part, text]))
        seen = pixels * (1 - n / KL_PROMPTS)
        logits = run_logits(case, all_ids[-1], seen, torch.float32)
        for attention, rows in by_attention.items():
            rows.append(kl(logits, run_logits(case, all_ids[-1], seen, torch.bfloat16, attention)))
    tensors = {"kl_input_ids": torch.stack(all_ids), "kl_bfloat16": torch.stack(by_attention["sdpa"]).to(torch.float32)}
    report = {f"kl_bfloat16_mean_{name}": float(torch.stack(rows).mean()) for name, rows in by_attention.items()}
    if case.decoder.experts > 0:  # single rows whose routes flip make the mean
        report |= {f"kl_bfloat16_median_{name}": float(torch.stack(rows).median()) for name, rows in by_attention.items()}
    return tensors, report


def write_golden(case: Case, prompt: Prompt) -> None:
    text = prompt_text(case, prompt)
    tokenizer = tokenizers.Tokenizer.from_file(str(MODELS / case.name / "hf" / "tokenizer.json"))
    ids = torch.tensor(tokenizer.encode(text).ids, dtype=torch.int32)
    tensors = {"input_ids": ids}
    pixels = None
    if prompt.tiles:
        pixels = normalise(random_tiles(case, prompt))
        tensors |= {"pixel_values": pixels}

    found = run_with_intermediates(case, ids, pixels)
    logits = found["logits"]
    tensors |= {"logits": logits} if prompt.name else found
    tensors["logits_bfloat16"] = run_logits(case, ids, pixels, torch.bfloat16)
    greedy_ids, greedy_logits = run_greedy(case, ids, pixels)
    tensors |= {"greedy_ids": greedy_ids.to(torch.int32), "greedy_logits": greedy_logits}
    if (greedy_logits[0] - logits[-1]).abs().max() > 1e-4:
        raise SystemExit(f"{case.name}: generate() starts from other logits than forward()")
    if top_margin(greedy_logits) < SMALLEST_MARGIN:
        raise SystemExit(
            f"{case.name}{prompt.name}: a greedy choice is too close, {top_margin(greedy_logits)}; draw anew"
        )

    eager = run_logits(case, ids, pixels, torch.bfloat16, "eager")
    double = run_logits(case, ids, pixels, torch.float64)
    kl_sdpa, kl_eager = kl(logits, tensors["logits_bfloat16"]), kl(logits, eager)
    report = {
        "case": case.name,
        "prompt": text,
        "tiles": list(prompt.tiles),
        "tokens_per_tile": case.vit.tokens_per_tile,
        "seed": case.seed,
        "logits_std": float(logits.std()),
        "float32_to_float64_max": float((logits.to(torch.float64) - double).abs().max()),
        "bfloat16_kl_mean": float(kl_sdpa.mean()),
        "bfloat16_kl_max": float(kl_sdpa.max()),
        "bfloat16_eager_kl_mean": float(kl_eager.mean()),
        "bfloat16_eager_kl_max": float(kl_eager.max()),
        "greedy_min_margin": top_margin(greedy_logits),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }
    if not prompt.name:
        kl_tensors, kl_report = bfloat16_statistics(case, ids, pixels)
        tensors |= kl_tensors
        report |= kl_report | check_that_everything_shows(case, ids, pixels, logits)
    report["shapes"] = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())}
    folder = MODELS / case.name
    save_safetensors(folder / f"golden{prompt.name}.safetensors", tensors)
    write_pretty(folder / f"golden{prompt.name}.json", report)
    print(
        f"{case.name}{prompt.name}: {len(ids)} ids, logits std {report['logits_std']:.2f},"
        f" f32-f64 {report['float32_to_float64_max']:.1e}, bf16 KL {report['bfloat16_kl_mean']:.1e}"
        f" (eager {report['bfloat16_eager_kl_mean']:.1e}), greedy margin {report['greedy_min_margin']:.3f}"
        + "".join(f", {name} {report[name]:.2e}" for name in report if name.startswith("kl_"))
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", help="names of cases; all when none is given")
    chosen = parser.parse_args().cases
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for case in CASES:
        if not chosen or case.name in chosen:
            write_checkpoints(case)
            for prompt in case.prompts:
                write_golden(case, prompt)


if __name__ == "__main__":
    main()
