"""The tiny checkpoints as GGUF files: models/*/gguf/model.gguf and mmproj.gguf, written by the gguf package.

Names, keys and types are those of llama.cpp's converter (facts, not code): language matrices BF16, everything of one
dimension, routers and the position table F32. All weights are exact in BF16, so nothing is rounded. qwen3_moe_tiny has
mixed/model.gguf too, whose matrices are quantised, each in another type.

  python make_gguf_models.py
"""

import json
import math
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors import deserialize

MODELS = Path(__file__).resolve().parent / "models"
ARCHITECTURES = {"qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss", "internlm3": "llama"}
CASES = ["qwen2_dynamic", "qwen3_tiny", "qwen3_moe_tiny", "gpt_oss_tiny", "internlm3_tiny", "vit6b_qwen3"]
MIXED = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.F16, T.MXFP4]

LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
}  # fmt: skip
VIT_LAYER = {
    "norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out", "attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm",
    "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
}  # fmt: skip


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    weights = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in deserialize(path.read_bytes()):
            if tensor["dtype"] == "BF16":
                bits = np.frombuffer(tensor["data"], np.uint16).astype(np.uint32) << 16
                values = bits.view(np.float32)
            else:
                values = np.frombuffer(tensor["data"], {"F32": np.float32, "F16": np.float16}[tensor["dtype"]])
            weights[name] = values.astype(np.float32).reshape(tensor["shape"])
    return dict(sorted(weights.items()))


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head in turn from its halves, as files of Llama's kind have q and k."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def language_tensors(weights: dict, llm: dict) -> dict[str, np.ndarray]:
    family = llm["model_type"]
    tensors = {
        "token_embd.weight": weights["language_model.model.embed_tokens.weight"],
        "output_norm.weight": weights["language_model.model.norm.weight"],
    }
    if "language_model.lm_head.weight" in weights:
        tensors["output.weight"] = weights["language_model.lm_head.weight"]
    for layer in range(llm["num_hidden_layers"]):
        source, target = f"language_model.model.layers.{layer}.", f"blk.{layer}."
        of_layer = {name.removeprefix(source): w for name, w in weights.items() if name.startswith(source)}
        experts: dict[str, list] = {}
        for name, w in sorted(of_layer.items(), key=lambda item: [int(s) if s.isdigit() else s for s in item[0].split(".")]):
            stem, _, suffix = name.rpartition(".")
            if stem.startswith("mlp.experts.") and stem.split(".")[2].isdigit():
                experts.setdefault(LAYER["mlp." + stem.split(".")[3]] + "_exps", []).append(w)
            elif name == "self_attn.sinks":
                tensors[target + "attn_sinks.weight"] = w
            elif name.startswith("mlp.experts.gate_up_proj"):
                kind = ".bias" if name.endswith("_bias") else ".weight"
                if kind == ".weight":
                    w = w.swapaxes(1, 2)  # [experts, in, out] in the file
                tensors[target + "ffn_gate_exps" + kind] = w[:, 0::2]
                tensors[target + "ffn_up_exps" + kind] = w[:, 1::2]
            elif name.startswith("mlp.experts.down_proj"):
                bias = name.endswith("_bias")
                tensors[target + "ffn_down_exps" + (".bias" if bias else ".weight")] = w if bias else w.swapaxes(1, 2)
            elif stem == "post_attention_layernorm":
                tensors[target + ("post_attention_norm" if family == "gpt_oss" else "ffn_norm") + "." + suffix] = w
            else:
                if family == "internlm3" and stem in ("self_attn.q_proj", "self_attn.k_proj"):
                    w = permuted(w, llm["num_attention_heads" if "q_proj" in stem else "num_key_value_heads"])
                tensors[target + LAYER[stem] + "." + suffix] = w
        for name, parts in experts.items():
            tensors[target + name + ".weight"] = np.stack(parts)
    return tensors


def vision_tensors(weights: dict, layers: int) -> dict[str, np.ndarray]:
    embeddings = "vision_model.embeddings."
    tensors = {
        "v.class_embd": weights[embeddings + "class_embedding"].reshape(-1),
        "v.position_embd.weight": weights[embeddings + "position_embedding"][0],
        "v.patch_embd.weight": weights[embeddings + "patch_embedding.weight"],
        "v.patch_embd.bias": weights[embeddings + "patch_embedding.bias"],
    }
    for layer in range(layers):
        source, target = f"vision_model.encoder.layers.{layer}.", f"v.blk.{layer}."
        for name, w in weights.items():
            if not name.startswith(source):
                continue
            stem, _, suffix = name.removeprefix(source).rpartition(".")
            if stem == "attn.qkv":
                for part, rows in zip("qkv", np.split(w, 3)):
                    tensors[target + f"attn_{part}.{suffix}"] = rows
            elif suffix in ("ls1", "ls2"):
                tensors[target + suffix + ".weight"] = w
            else:
                tensors[target + VIT_LAYER[stem] + "." + suffix] = w
    for number in (0, 1, 3):
        for suffix in ("weight", "bias"):
            tensors[f"mm.model.mlp.{number}.{suffix}"] = weights[f"mlp1.{number}.{suffix}"]
    return tensors


def add_tensors(writer: gguf.GGUFWriter, tensors: dict, types) -> None:
    for name, w in tensors.items():
        w = np.ascontiguousarray(w, dtype=np.float32)
        kind = types(name, w)
        if kind == T.F32:
            writer.add_tensor(name, w)
        else:
            writer.add_tensor(name, gguf.quants.quantize(w, kind), raw_dtype=kind)


def plain_type(name: str, w: np.ndarray) -> T:
    alone = w.ndim == 1 or name.endswith((".bias", "ffn_gate_inp.weight", "position_embd.weight", "patch_embd.weight"))
    return T.F32 if alone else T.BF16


def mixed_type(counter: list) -> T:
    def kind(name: str, w: np.ndarray) -> T:
        if plain_type(name, w) == T.F32:
            return T.F32
        counter[0] += 1
        return MIXED[counter[0] % len(MIXED)]

    return kind


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, llm: dict) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens, types = {i: t for t, i in tokenizer["model"]["vocab"].items()}, {}
    for token in tokenizer["added_tokens"]:
        tokens[token["id"]] = token["content"]
        types[token["id"]] = 3 if token["special"] else 4
    rows = llm["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o" if llm["model_type"] == "gpt_oss" else "qwen2")
    writer.add_token_list([tokens.get(i, f"[PAD{i}]") for i in range(rows)])
    writer.add_token_types([types.get(i, 1 if i in tokens else 5) for i in range(rows)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    ids = {text: i for i, text in tokens.items()}
    writer.add_eos_token_id(ids[config["eos_token"]])
    writer.add_pad_token_id(ids[config["pad_token"]])
    writer.add_add_bos_token(False)


def write_model(path: Path, case: str, config: dict, tensors: dict, types) -> None:
    llm = config["llm_config"]
    family = llm["model_type"]
    writer = gguf.GGUFWriter(path, ARCHITECTURES[family])
    writer.add_type("model")
    writer.add_name(case)
    writer.add_context_length(llm["max_position_embeddings"])
    writer.add_embedding_length(llm["hidden_size"])
    writer.add_block_count(llm["num_hidden_layers"])
    writer.add_feed_forward_length(llm["intermediate_size"])
    writer.add_head_count(llm["num_attention_heads"])
    writer.add_head_count_kv(llm["num_key_value_heads"])
    if "head_dim" in llm:
        writer.add_key_length(llm["head_dim"])
        writer.add_value_length(llm["head_dim"])
    writer.add_layer_norm_rms_eps(llm["rms_norm_eps"])
    writer.add_rope_freq_base(llm["rope_theta"])
    writer.add_vocab_size(llm["vocab_size"])
    if family == "internlm3":
        writer.add_rope_dimension_count(llm["head_dim"])
    if family == "qwen3_moe":
        writer.add_expert_count(llm["num_experts"])
        writer.add_expert_used_count(llm["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(llm["moe_intermediate_size"])
    if family == "gpt_oss":
        writer.add_expert_count(llm["num_local_experts"])
        writer.add_expert_used_count(llm["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(llm["intermediate_size"])
        writer.add_sliding_window(llm["sliding_window"])
        scaling = llm["rope_scaling"]
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])
    add_tokenizer(writer, MODELS / case / "hf", llm)
    add_tensors(writer, tensors, types)
    finish(writer)


def write_mmproj(path: Path, case: str, config: dict, tensors: dict) -> None:
    vision = config["vision_config"]
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name(case)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "internvl")
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": config["force_image_size"],
        "patch_size": vision["patch_size"],
        "embedding_length": vision["hidden_size"],
        "feed_forward_length": vision["intermediate_size"],
        "block_count": vision["num_hidden_layers"],
        "attention.head_count": vision["num_attention_heads"],
        "projection_dim": config["llm_config"]["hidden_size"],
        "projector.scale_factor": math.isqrt(round(1 / config["downsample_ratio"] ** 2)),
        "preproc_min_tiles": config["min_dynamic_patch"],
        "preproc_max_tiles": config["max_dynamic_patch"],
    }.items():
        writer.add_uint32("clip.vision." + key, value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.image_mean", [0.485, 0.456, 0.406])
    writer.add_array("clip.vision.image_std", [0.229, 0.224, 0.225])
    add_tensors(writer, tensors, plain_type)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    for case in CASES:
        folder = MODELS / case / "gguf"
        folder.mkdir(exist_ok=True)
        config = json.loads((MODELS / case / "github" / "config.json").read_text())
        weights = read_weights(MODELS / case / "github")
        language = language_tensors(weights, config["llm_config"])
        write_model(folder / "model.gguf", case, config, language, plain_type)
        write_mmproj(folder / "mmproj.gguf", case, config, vision_tensors(weights, config["vision_config"]["num_hidden_layers"]))
    case = "qwen3_moe_tiny"
    config = json.loads((MODELS / case / "github" / "config.json").read_text())
    language = language_tensors(read_weights(MODELS / case / "github"), config["llm_config"])
    (MODELS / case / "mixed").mkdir(exist_ok=True)
    write_model(MODELS / case / "mixed" / "model.gguf", case, config, language, mixed_type([0]))


if __name__ == "__main__":
    main()
